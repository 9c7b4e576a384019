// One INVOKE frame, taken apart; fields that were not sent are empty.

using System;
using System.Globalization;
using System.IO;

namespace Gatemill.Runtime
{
    internal sealed class Invocation
    {
        private const int Fields = 6;

        internal readonly string RequestId;
        internal readonly DateTimeOffset Deadline;
        internal readonly string FunctionArn;
        internal readonly string TraceId;
        internal readonly string ClientContext;
        internal readonly string CognitoIdentity;
        internal readonly string TenantId;
        internal readonly byte[] Payload;

        internal Invocation(string meta, byte[] payload)
        {
            string[] fields = meta.Split('\0');
            if (fields.Length < Fields)
            {
                throw new IOException("an INVOKE frame with " + fields.Length + " of 6 fields");
            }
            RequestId = fields[0];
            long deadline = long.Parse(fields[1], CultureInfo.InvariantCulture);
            Deadline = DateTimeOffset.FromUnixTimeMilliseconds(deadline);
            FunctionArn = fields[2];
            TraceId = fields[3];
            ClientContext = fields[4];
            CognitoIdentity = fields[5];
            TenantId = fields.Length > Fields ? fields[Fields] : "";
            Payload = payload;
        }
    }
}
