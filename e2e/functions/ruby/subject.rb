# Does what the event's `do` says; every runtime of the tests has a function that does the same.

module Subject
  @count = 0

  def self.handler(event:, context:)
    case event['do']
    when 'echo' then event['value']
    when 'fail' then raise ArgumentError, 'no luck'
    when 'sleep' then sleep(event['seconds']) && 'slept'
    when 'exit' then exit!(event['status'])
    when 'eat' then eat
    when 'big' then 'x' * event['size']
    when 'length' then event['value'].length
    when 'environment' then ENV.to_h.merge('cwd' => Dir.pwd)
    when 'context' then fields(context)
    when 'print' then print_lines
    when 'count' then @count += 1
    else raise "unknown: #{event}"
    end
  end

  def self.eat
    hoard = []
    loop { hoard << ('x' * (8 << 20)) }
  end

  def self.fields(context)
    client = context.client_context
    {
      id: context.aws_request_id, name: context.function_name, version: context.function_version,
      arn: context.invoked_function_arn, memory: context.memory_limit_in_mb.to_s,
      group: context.log_group_name, stream: context.log_stream_name,
      left: context.get_remaining_time_in_millis,
      tenant: context.tenant_id, custom: client && client['custom'], title: client && client['client']['app_title']
    }
  end

  def self.print_lines
    puts 'to stdout'
    warn 'to stderr'
    print 'no line end'
    'printed'
  end
end

def top_level(event:, context:)
  { event: event, name: context.function_name }
end

def fails(event:, context:)
  raise 'inside'
rescue StandardError
  raise TypeError, 'outside'
end

def logs(event:, context:)
  require 'logger'
  Logger.new($stdout).warn("one\ntwo")
  'logged'
end

def unprintable(event:, context:)
  Float::NAN
end

NOT_A_METHOD = 1
