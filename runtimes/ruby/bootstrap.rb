# frozen_string_literal: true

# The program that a managed Ruby runtime starts; everything else is in `gatemill_runtime` beside it.

require_relative 'gatemill_runtime/loop'

GatemillRuntime::Loop.run(ARGV)
