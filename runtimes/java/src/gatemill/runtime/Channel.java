package gatemill.runtime;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;

/**
 * The framed channel to the server (protocol version 2) on descriptor 3.
 *
 * <p>A frame is {@code u32 LE body length | u8 kind | body}. Java has no way to open a socket by its
 * number: {@code /proc/self/fd/3} answers ENXIO, and inherited channels have to be descriptor 0. So
 * the number is put into a {@link FileDescriptor} by reflection, which the jar's manifest opens.
 */
final class Channel {
    static final int INVOKE = 0x01;
    static final int ASSIGN = 0x02;
    static final int READY = 0x81;
    static final int INIT_ERROR = 0x82;
    static final int RESPONSE = 0x83;
    static final int ERROR = 0x84;
    static final int PARKED = 0x89;

    private static final int DESCRIPTOR = 3;
    private static final int HEADER_BYTES = 5;
    // Enough for almost every event in one read; larger ones get a buffer of their own.
    private static final int BUFFER_BYTES = 64 * 1024;
    // The protocol's bound on one frame, far above AWS's payload quota of 6 MiB.
    private static final int FRAME_BYTES_MAX = 64 * 1024 * 1024;

    private final FileInputStream input;
    private final FileOutputStream output;
    private final byte[] buffer = new byte[BUFFER_BYTES];

    Channel() {
        FileDescriptor descriptor = new FileDescriptor();
        try {
            Field number = FileDescriptor.class.getDeclaredField("fd");
            number.setAccessible(true);
            number.setInt(descriptor, DESCRIPTOR);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException("java.io is not open to the runtime client", error);
        }
        input = new FileInputStream(descriptor);
        output = new FileOutputStream(descriptor);
    }

    /** The next invocation; null when the server closed the channel between two. */
    Invocation receive() throws IOException {
        byte[] frame = frame(INVOKE);
        if (frame == null) {
            return null;
        }
        int end = HEADER_BYTES + length(frame, 0);
        int start = HEADER_BYTES + 4;
        int metaLength = end < start ? -1 : length(frame, HEADER_BYTES);
        if (metaLength < 0 || metaLength > end - start) {
            throw new IOException("the fields of an INVOKE frame pass its end");
        }
        String meta = new String(frame, start, metaLength, StandardCharsets.UTF_8);
        byte[] event = new byte[end - start - metaLength];
        System.arraycopy(frame, start + metaLength, event, 0, event.length);
        return new Invocation(meta, event);
    }

    /** The JSON of the ASSIGN frame; null when the server closed the channel instead. */
    byte[] receiveAssignment() throws IOException {
        byte[] frame = frame(ASSIGN);
        if (frame == null) {
            return null;
        }
        byte[] body = new byte[length(frame, 0)];
        System.arraycopy(frame, HEADER_BYTES, body, 0, body.length);
        return body;
    }

    private byte[] frame(int kind) throws IOException {
        int filled = input.read(buffer, 0, BUFFER_BYTES);
        if (filled <= 0) {
            return null;
        }
        while (filled < HEADER_BYTES) {
            filled += readMore(buffer, filled, BUFFER_BYTES);
        }
        int length = length(buffer, 0);
        if (length < 0 || length > FRAME_BYTES_MAX) {
            throw new IOException("a frame of " + (length & 0xffffffffL) + " bytes");
        }
        if ((buffer[4] & 0xff) != kind) {
            throw new IOException("a frame of kind " + (buffer[4] & 0xff));
        }
        int end = HEADER_BYTES + length;
        if (filled > end) {
            throw new IOException("bytes after a frame");
        }
        byte[] frame = buffer;
        if (end > BUFFER_BYTES) {
            frame = new byte[end];
            System.arraycopy(buffer, 0, frame, 0, filled);
        }
        while (filled < end) {
            filled += readMore(frame, filled, end);
        }
        return frame;
    }

    private int readMore(byte[] into, int from, int to) throws IOException {
        int count = input.read(into, from, to - from);
        if (count <= 0) {
            throw new IOException("the channel ended inside a frame");
        }
        return count;
    }

    private static int length(byte[] bytes, int at) {
        return (bytes[at] & 0xff) | (bytes[at + 1] & 0xff) << 8 | (bytes[at + 2] & 0xff) << 16
                | (bytes[at + 3] & 0xff) << 24;
    }

    void send(int kind, byte[] body) throws IOException {
        send(kind, body, body.length);
    }

    /** Writes one whole frame in one call; returns when the kernel has all of it. */
    void send(int kind, byte[] body, int length) throws IOException {
        byte[] frame = new byte[HEADER_BYTES + length];
        for (int index = 0; index < 4; index++) {
            frame[index] = (byte) (length >>> 8 * index);
        }
        frame[4] = (byte) kind;
        System.arraycopy(body, 0, frame, HEADER_BYTES, length);
        output.write(frame);
    }
}
