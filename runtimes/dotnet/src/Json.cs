// The little of JSON that the client writes and reads itself; objects are the function's serializer's.

using System.Collections.Generic;
using System.Text;
using System.Text.Json;

namespace Gatemill.Runtime
{
    internal static class Json
    {
        internal static void Write(string value, StringBuilder text)
        {
            text.Append('"');
            foreach (char c in value ?? "")
            {
                if (c == '"' || c == '\\') text.Append('\\').Append(c);
                else if (c == '\n') text.Append("\\n");
                else if (c == '\r') text.Append("\\r");
                else if (c == '\t') text.Append("\\t");
                // Half a surrogate pair has no UTF-8; escaped, it arrives.
                else if (c < ' ' || char.IsSurrogate(c)) text.Append("\\u").Append(((int)c).ToString("x4"));
                else text.Append(c);
            }
            text.Append('"');
        }

        // The members of an object that are texts; of others their JSON. Empty for what is no object.
        internal static Dictionary<string, string> Members(JsonElement element)
        {
            var all = new Dictionary<string, string>();
            if (element.ValueKind != JsonValueKind.Object) return all;
            foreach (JsonProperty member in element.EnumerateObject())
            {
                bool isText = member.Value.ValueKind == JsonValueKind.String;
                all[member.Name] = isText ? member.Value.GetString() : member.Value.GetRawText();
            }
            return all;
        }
    }
}
