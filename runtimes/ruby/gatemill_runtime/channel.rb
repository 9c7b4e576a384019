# frozen_string_literal: true

module GatemillRuntime
  # One INVOKE frame, taken apart. `event` is the text of the payload, not yet parsed.
  Invocation = Struct.new(
    :request_id, :deadline_ms, :function_arn, :trace_id, :client_context, :cognito_identity, :tenant_id, :event
  )

  # The framed channel to the server (protocol version 2) on descriptor 3.
  #
  # A frame is `u32 LE body length | u8 kind | body`. Reads and writes block: one invocation at a time is all that an
  # execution environment serves, and while it waits nothing of the customer's should run.
  class Channel
    DESCRIPTOR = 3
    INVOKE = 0x01
    ASSIGN = 0x02
    READY = 0x81
    INIT_ERROR = 0x82
    RESPONSE = 0x83
    ERROR = 0x84
    PARKED = 0x89

    HEADER_BYTES = 5
    # Enough for almost every event in one read.
    READ_BYTES = 64 * 1024
    # The protocol's bound on one frame, far above AWS's payload quota of 6 MiB.
    FRAME_BYTES_MAX = 64 * 1024 * 1024
    FIELDS = 6

    # The server sent something that the protocol does not have.
    class ProtocolError < StandardError; end

    def initialize
      @io = IO.for_fd(DESCRIPTOR, 'r+b', autoclose: false)
      # Programs that the handler starts must not be able to answer in its place.
      @io.close_on_exec = true
    end

    # Waits for the next invocation. nil when the server closed the channel between two.
    def receive
      body = frame(INVOKE)
      body && parse(body)
    end

    # The JSON of the ASSIGN frame; nil when the server closed the channel instead.
    def receive_assignment
      frame(ASSIGN)
    end

    # Writes one whole frame; returns when the kernel has all of it.
    def send(kind, body = '')
      rest = [body.bytesize, kind].pack('VC') << body.b
      rest = rest.byteslice(@io.syswrite(rest)..) until rest.empty?
    end

    private

    def frame(kind)
      bytes = read_some or return nil
      bytes << read_more while bytes.bytesize < HEADER_BYTES
      length, found = bytes.unpack('VC')
      raise ProtocolError, "a frame of #{length} bytes" if length > FRAME_BYTES_MAX
      raise ProtocolError, "a frame of kind #{found}" if found != kind

      bytes << read_more while bytes.bytesize < HEADER_BYTES + length
      raise ProtocolError, 'bytes after a frame' if bytes.bytesize > HEADER_BYTES + length

      bytes.byteslice(HEADER_BYTES..)
    end

    def read_some
      @io.sysread(READ_BYTES)
    rescue EOFError
      nil
    end

    def read_more
      read_some or raise ProtocolError, 'the channel ended inside a frame'
    end

    def parse(body)
      length = body.unpack1('V') || 0
      raise ProtocolError, 'the fields of an INVOKE frame pass its end' if body.bytesize < 4 + length

      fields = body.byteslice(4, length).force_encoding(Encoding::UTF_8).split("\0", -1)
      raise ProtocolError, "an INVOKE frame with #{fields.size} of 6 fields" if fields.size < FIELDS

      id, deadline, arn, trace, client, identity, tenant = fields
      event = body.byteslice((4 + length)..).force_encoding(Encoding::UTF_8)
      Invocation.new(id, Integer(deadline), arn, trace, client, identity, tenant.to_s, event)
    end
  end
end
