# frozen_string_literal: true

require 'json'

# The context object that a handler is given. Its name and its readers are those of AWS's, which customers' tests name.
class LambdaContext
  attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
              :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms, :tenant_id

  def initialize(invocation)
    @deadline_ms = invocation.deadline_ms
    @aws_request_id = invocation.request_id
    @invoked_function_arn = invocation.function_arn
    @log_group_name = ENV['AWS_LAMBDA_LOG_GROUP_NAME']
    @log_stream_name = ENV['AWS_LAMBDA_LOG_STREAM_NAME']
    @function_name = ENV['AWS_LAMBDA_FUNCTION_NAME']
    @memory_limit_in_mb = ENV['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']
    @function_version = ENV['AWS_LAMBDA_FUNCTION_VERSION']
    @identity = parse(invocation.cognito_identity)
    @client_context = parse(invocation.client_context)
    @tenant_id = invocation.tenant_id.empty? ? nil : invocation.tenant_id
  end

  # Milliseconds until the invocation times out; 0 when that moment has passed.
  def get_remaining_time_in_millis
    [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
  end

  private

  def parse(text)
    text.empty? ? nil : JSON.parse(text)
  end
end
