# frozen_string_literal: true

require_relative 'channel'
require_relative 'context'
require_relative 'faults'
require_relative 'handler'
require_relative 'logs'

module GatemillRuntime
  # Init, then one invocation after the other, until the server closes the channel.
  class Loop
    # The statuses that AWS's runtime leaves with, as a process has them.
    INIT_FAILED = 252
    CRITICAL = 255

    # The last of `arguments` may be `--parked`: then it waits for ASSIGN before anything else.
    def self.run(arguments)
      channel = Channel.new
      Logs.set_up
      if arguments.last == '--parked'
        channel.send(Channel::PARKED)
        assignment = channel.receive_assignment or return
        ENV.replace(JSON.parse(assignment).fetch('environment'))
      end
      # The server starts a process where the function's code is, unless it did not know it yet.
      root = ENV.fetch('LAMBDA_TASK_ROOT', Dir.pwd)
      Dir.chdir(root) if arguments.last == '--parked'
      new(channel).serve(root)
      # Threads of the customer's that never end would keep an orderly exit waiting for ever.
      exit!(0)
    end

    def initialize(channel)
      @channel = channel
    end

    def serve(root)
      load(root)
      Logs.flush
      @channel.send(Channel::READY)
      while (invocation = @channel.receive)
        Logs.request_id = invocation.request_id
        ENV['_X_AMZN_TRACE_ID'] = invocation.trace_id.empty? ? nil : invocation.trace_id
        answer(invocation)
      end
    end

    private

    def load(root)
      @handler = Handler.new(ENV.fetch('_HANDLER', ''))
      @handler.load(root)
    rescue Exception => e # a LoadError and a SyntaxError are no StandardErrors
      fail_with(e, 'Init', "Init error when loading handler #{ENV['_HANDLER']}", Channel::INIT_ERROR)
      exit!(INIT_FAILED)
    end

    def answer(invocation)
      body = @handler.call(invocation)
      Logs.flush
      @channel.send(Channel::RESPONSE, body)
    rescue StandardError => e
      fail_with(e, 'Function', 'Error raised from handler method', Channel::ERROR)
    rescue Exception => e # such as SystemExit: the answer is an error, and the process ends
      fail_with(e, 'Function', 'Critical exception from handler', Channel::ERROR)
      exit!(CRITICAL)
    end

    def fail_with(error, phase, heading, kind)
      body = Faults.body(error, phase)
      Logs.error(body, heading)
      Logs.flush
      @channel.send(kind, JSON.generate(body))
    end
  end
end
