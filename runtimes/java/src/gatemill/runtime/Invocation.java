package gatemill.runtime;

import java.io.IOException;

/** One INVOKE frame, taken apart; fields that were not sent are empty. */
final class Invocation {
    private static final int FIELDS = 6;

    final String requestId;
    final long deadlineMs;
    final String functionArn;
    final String traceId;
    final String clientContext;
    final String cognitoIdentity;
    final String tenantId;
    final byte[] event;

    Invocation(String meta, byte[] event) throws IOException {
        String[] fields = meta.split("\0", -1);
        if (fields.length < FIELDS) {
            throw new IOException("an INVOKE frame with " + fields.length + " of 6 fields");
        }
        requestId = fields[0];
        deadlineMs = Long.parseLong(fields[1]);
        functionArn = fields[2];
        traceId = fields[3];
        clientContext = fields[4];
        cognitoIdentity = fields[5];
        tenantId = fields.length > FIELDS ? fields[FIELDS] : "";
        this.event = event;
    }
}
