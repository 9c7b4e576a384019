# frozen_string_literal: true

require 'json'

module GatemillRuntime
  # What went wrong, in AWS's words.
  module Faults
    OWN_DIRECTORY = File.dirname(__dir__)
    # More of a backtrace, AWS does not show.
    FRAMES_MAX = 100

    # The error object for an exception; `phase` is Init or Function.
    def self.body(error, phase)
      {
        errorMessage: text(error.message),
        errorType: "#{phase}<#{error.class}>",
        stackTrace: trace(error)
      }
    end

    # The customer's frames alone: those of the runtime lie below them.
    def self.trace(error)
      frames = (error.backtrace || []).map { |frame| text(frame) }
      own = frames.index { |frame| frame.start_with?(OWN_DIRECTORY) } || frames.size
      frames = frames.first(own) if own.positive?
      frames.first(FRAMES_MAX)
    end

    # What a message holds may be no UTF-8, which JSON has to be.
    def self.text(value)
      value.to_s.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    end
  end
end
