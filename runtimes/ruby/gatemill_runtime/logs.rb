# frozen_string_literal: true

require 'json'
require 'logger'

module GatemillRuntime
  # What the function prints and logs, in AWS's text and JSON formats.
  #
  # A record of several lines stays one event because its inner line ends are carriage returns.
  module Logs
    # The id of the invocation that is running; records are stamped with it.
    class << self
      attr_accessor :request_id
    end

    # The standard formatter's text, with the request's id in it.
    class TextFormatter < ::Logger::Formatter
      def call(severity, time, progname, message)
        head = format('%s, [%s #%d] %5s %s -- %s: ', severity[0], format_datetime(time), $$, severity,
                      Logs.request_id, progname)
        Logs.one_event(head + Faults.text(msg2str(message)))
      end
    end

    # One JSON object a record.
    class JsonFormatter < ::Logger::Formatter
      def call(severity, time, progname, message)
        is_error = message.is_a?(Exception)
        fields = { timestamp: Logs.timestamp(time), level: severity,
                   message: Faults.text(is_error ? message.message : msg2str(message)),
                   requestId: Logs.request_id, logger: progname }
        if is_error
          fields.update(errorType: message.class.to_s, errorMessage: Faults.text(message.message),
                        stackTrace: Array(message.backtrace).map { |line| Faults.text(line) })
        end
        Logs.one_event(JSON.generate(fields.compact))
      end
    end

    # Loggers of the standard streams write AWS's format; those of files, what their authors expect.
    module Patch
      def initialize(device = nil, *arguments, **options)
        super
        return unless device.nil? || device.equal?($stdout) || device.equal?($stderr)

        @default_formatter = Logs.json? ? JsonFormatter.new : TextFormatter.new
        self.level = Logs.level if options[:level].nil? && Logs.level
      end
    end

    LEVELS = { 'TRACE' => ::Logger::DEBUG, 'DEBUG' => ::Logger::DEBUG, 'INFO' => ::Logger::INFO,
               'WARN' => ::Logger::WARN, 'ERROR' => ::Logger::ERROR, 'FATAL' => ::Logger::FATAL }.freeze

    def self.set_up
      [$stdout, $stderr].each do |stream|
        stream.sync = true
        stream.set_encoding(Encoding::UTF_8)
      end
      ::Logger.prepend(Patch)
    end

    def self.json?
      ENV['AWS_LAMBDA_LOG_FORMAT'].to_s.casecmp?('JSON')
    end

    def self.level
      LEVELS[ENV['AWS_LAMBDA_LOG_LEVEL'].to_s.upcase]
    end

    def self.timestamp(time)
      time.utc.strftime('%Y-%m-%dT%H:%M:%S.%6NZ')
    end

    def self.one_event(text)
      "#{text.chomp.tr("\n", "\r")}\n"
    end

    # Logs an error object the way AWS reports a failed invocation or init.
    def self.error(body, heading)
      if json?
        fields = { timestamp: timestamp(Time.now), level: 'ERROR', message: heading, requestId: request_id, **body }
        STDOUT.write(one_event(JSON.generate(fields.compact)))
      else
        STDOUT.write("#{heading}\n", one_event(JSON.pretty_generate(body)))
      end
    end

    # Puts all that was printed into the pipe, if the streams are still there.
    def self.flush
      [$stdout, $stderr, STDOUT, STDERR].uniq.each(&:flush)
    rescue IOError
      nil
    end
  end
end
