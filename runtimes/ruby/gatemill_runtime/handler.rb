# frozen_string_literal: true

require 'json'
require 'stringio'

module GatemillRuntime
  # From the handler's name, `file.method` or `file.Module::Class.method`, to what answers.
  class Handler
    def initialize(name)
      parts = name.split('.')
      unless [2, 3].include?(parts.size)
        raise ArgumentError, "Invalid handler #{parts}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD " \
                             'where FILENAME corresponds with an existing Ruby source file FILENAME.rb, CLASS is an ' \
                             'optional module/class namespace and METHOD is a callable method. If using CLASS, ' \
                             'METHOD must be a class-level method.'
      end
      @file = parts.first
      @constant = parts[1] if parts.size == 3
      @method = parts.last
    end

    # Runs the function's file. Whatever it raises fails the init.
    def load(root)
      $LOAD_PATH.unshift(root) unless $LOAD_PATH.include?(root)
      require @file
    end

    # The bytes that answer the caller. A method outside of any module is the main object's, and private.
    def call(invocation)
      arguments = { event: JSON.parse(invocation.event), context: LambdaContext.new(invocation) }
      receiver = @constant ? Object.const_get(@constant) : TOPLEVEL_BINDING.receiver
      result = receiver.__send__(@method, **arguments)
      case result
      # AWS's sign for an answer that is JSON already, or no JSON.
      when StringIO, IO then result.read.to_s
      else result.to_json
      end
    end
  end
end
