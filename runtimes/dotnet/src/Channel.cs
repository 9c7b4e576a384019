// The framed channel to the server (protocol version 2) on descriptor 3.
//
// A frame is `u32 LE body length | u8 kind | body`. Reads and writes block: one invocation at a time is
// all that an execution environment serves, and while it waits nothing of the customer's should run.

using System;
using System.IO;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Gatemill.Runtime
{
    internal sealed class Channel
    {
        internal const byte Invoke = 0x01;
        internal const byte Assign = 0x02;
        internal const byte Ready = 0x81;
        internal const byte InitError = 0x82;
        internal const byte Response = 0x83;
        internal const byte Error = 0x84;
        internal const byte Parked = 0x89;

        private const int Descriptor = 3;
        private const int HeaderBytes = 5;
        // Enough for almost every event in one read; larger ones get a buffer of their own.
        private const int BufferBytes = 64 * 1024;
        // The protocol's bound on one frame, far above AWS's payload quota of 6 MiB.
        private const int FrameBytesMax = 64 * 1024 * 1024;

        private readonly FileStream input = Open(FileAccess.Read);
        private readonly FileStream output = Open(FileAccess.Write);
        private readonly byte[] buffer = new byte[BufferBytes];

        // A stream for each direction: one for both would think that it may seek between them. A
        // buffer of one byte is none.
        private static FileStream Open(FileAccess access)
        {
            var handle = new SafeFileHandle((IntPtr)Descriptor, false);
            return new FileStream(handle, access, 1, false);
        }

        // The next invocation; null when the server closed the channel between two.
        internal Invocation Receive()
        {
            byte[] frame = Frame(Invoke);
            if (frame == null) return null;
            int end = HeaderBytes + Length(frame, 0);
            int start = HeaderBytes + 4;
            int metaLength = end < start ? -1 : Length(frame, HeaderBytes);
            if (metaLength < 0 || metaLength > end - start)
            {
                throw new IOException("the fields of an INVOKE frame pass its end");
            }
            string meta = Encoding.UTF8.GetString(frame, start, metaLength);
            var payload = new byte[end - start - metaLength];
            Buffer.BlockCopy(frame, start + metaLength, payload, 0, payload.Length);
            return new Invocation(meta, payload);
        }

        // The JSON of the ASSIGN frame; null when the server closed the channel instead.
        internal byte[] ReceiveAssignment()
        {
            byte[] frame = Frame(Assign);
            if (frame == null) return null;
            var body = new byte[Length(frame, 0)];
            Buffer.BlockCopy(frame, HeaderBytes, body, 0, body.Length);
            return body;
        }

        private byte[] Frame(byte kind)
        {
            int filled = input.Read(buffer, 0, BufferBytes);
            if (filled == 0) return null;
            while (filled < HeaderBytes) filled += ReadMore(buffer, filled, BufferBytes);
            int length = Length(buffer, 0);
            if (length < 0 || length > FrameBytesMax)
            {
                throw new IOException("a frame of " + (uint)length + " bytes");
            }
            if (buffer[4] != kind) throw new IOException("a frame of kind " + buffer[4]);
            int end = HeaderBytes + length;
            if (filled > end) throw new IOException("bytes after a frame");
            byte[] frame = buffer;
            if (end > BufferBytes)
            {
                frame = new byte[end];
                Buffer.BlockCopy(buffer, 0, frame, 0, filled);
            }
            while (filled < end) filled += ReadMore(frame, filled, end);
            return frame;
        }

        private int ReadMore(byte[] into, int from, int to)
        {
            int count = input.Read(into, from, to - from);
            if (count == 0) throw new IOException("the channel ended inside a frame");
            return count;
        }

        private static int Length(byte[] bytes, int at)
        {
            return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
        }

        internal void Send(byte kind, byte[] body)
        {
            Send(kind, body, body.Length);
        }

        // Writes one whole frame in one call; returns when the kernel has all of it.
        internal void Send(byte kind, byte[] body, int length)
        {
            var frame = new byte[HeaderBytes + length];
            for (int index = 0; index < 4; index++) frame[index] = (byte)(length >> 8 * index);
            frame[4] = kind;
            Buffer.BlockCopy(body, 0, frame, HeaderBytes, length);
            output.Write(frame, 0, frame.Length);
            output.Flush();
        }
    }
}
