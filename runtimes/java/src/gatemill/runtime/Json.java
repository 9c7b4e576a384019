package gatemill.runtime;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON text to a tree and back. The tree is made of {@link LinkedHashMap}, {@link ArrayList}, String,
 * Boolean, null and numbers: Integer, Long or BigInteger, whichever holds it, and BigDecimal where there
 * is a fraction or an exponent. Objects of the function's are {@link Mapper}'s business.
 */
final class Json {
    // Far deeper than any event; each level costs stack, and a customer's thread has little of it.
    static final int DEPTH_MAX = 1000;
    // A longer number is no number that a function computes with, and its parsing takes quadratic time.
    private static final int NUMBER_CHARS_MAX = 1000;

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /** The value that the text is. */
    static Object parse(byte[] utf8) {
        Json json = new Json(new String(utf8, StandardCharsets.UTF_8));
        json.skipSpace();
        Object value = json.value(0);
        json.skipSpace();
        if (json.at < json.text.length()) {
            throw json.unexpected();
        }
        return value;
    }

    /** A tree in UTF-8. */
    static byte[] bytes(Object tree) {
        StringBuilder out = new StringBuilder(256);
        write(tree, out);
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static void write(Object value, StringBuilder out) {
        if (value instanceof String) {
            writeString((String) value, out);
        } else if (value instanceof Map) {
            String separator = "{";
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                out.append(separator);
                writeString((String) entry.getKey(), out);
                out.append(':');
                write(entry.getValue(), out);
                separator = ",";
            }
            out.append(separator.equals("{") ? "{}" : "}");
        } else if (value instanceof List) {
            String separator = "[";
            for (Object item : (List<?>) value) {
                out.append(separator);
                write(item, out);
                separator = ",";
            }
            out.append(separator.equals("[") ? "[]" : "]");
        } else {
            out.append(value);
        }
    }

    static void writeString(String value, StringBuilder out) {
        out.append('"');
        int plain = 0;
        for (int index = 0; index < value.length(); index++) {
            char c = value.charAt(index);
            if (c >= ' ' && c != '"' && c != '\\') {
                continue;
            }
            out.append(value, plain, index);
            plain = index + 1;
            switch (c) {
                case '"': out.append("\\\""); break;
                case '\\': out.append("\\\\"); break;
                case '\n': out.append("\\n"); break;
                case '\r': out.append("\\r"); break;
                case '\t': out.append("\\t"); break;
                case '\b': out.append("\\b"); break;
                case '\f': out.append("\\f"); break;
                default: out.append(String.format("\\u%04x", (int) c)); break;
            }
        }
        out.append(value, plain, value.length()).append('"');
    }

    private IllegalArgumentException unexpected() {
        if (at >= text.length()) {
            return new IllegalArgumentException("Unexpected end-of-input");
        }
        return new IllegalArgumentException(
                "Unexpected character ('" + text.charAt(at) + "') at offset " + at);
    }

    private void skipSpace() {
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                return;
            }
            at++;
        }
    }

    private char peek() {
        if (at >= text.length()) {
            throw unexpected();
        }
        return text.charAt(at);
    }

    private void expect(char wanted) {
        if (peek() != wanted) {
            throw unexpected();
        }
        at++;
    }

    private Object value(int depth) {
        if (depth > DEPTH_MAX) {
            throw new IllegalArgumentException("Document nesting depth exceeds " + DEPTH_MAX);
        }
        switch (peek()) {
            case '{': return object(depth);
            case '[': return array(depth);
            case '"': return string();
            case 't': return word("true", Boolean.TRUE);
            case 'f': return word("false", Boolean.FALSE);
            case 'n': return word("null", null);
            default: return number();
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw unexpected();
        }
        at += word.length();
        return value;
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> all = new LinkedHashMap<>();
        at++;
        skipSpace();
        if (peek() == '}') {
            at++;
            return all;
        }
        while (true) {
            skipSpace();
            if (peek() != '"') {
                throw unexpected();
            }
            String name = string();
            skipSpace();
            expect(':');
            skipSpace();
            all.put(name, value(depth + 1));
            skipSpace();
            if (peek() == '}') {
                at++;
                return all;
            }
            expect(',');
        }
    }

    private List<Object> array(int depth) {
        List<Object> all = new ArrayList<>();
        at++;
        skipSpace();
        if (peek() == ']') {
            at++;
            return all;
        }
        while (true) {
            skipSpace();
            all.add(value(depth + 1));
            skipSpace();
            if (peek() == ']') {
                at++;
                return all;
            }
            expect(',');
        }
    }

    private String string() {
        int start = ++at;
        while (true) {
            char c = peek();
            if (c == '"') {
                return text.substring(start, at++);
            }
            if (c == '\\') {
                return escapedString(start);
            }
            if (c < ' ') {
                throw unexpected();
            }
            at++;
        }
    }

    private String escapedString(int start) {
        StringBuilder all = new StringBuilder().append(text, start, at);
        while (true) {
            char c = peek();
            if (c < ' ') {
                throw unexpected();
            }
            at++;
            if (c == '"') {
                return all.toString();
            }
            all.append(c == '\\' ? escape() : c);
        }
    }

    private char escape() {
        char c = peek();
        at++;
        switch (c) {
            case 'n': return '\n';
            case 't': return '\t';
            case 'r': return '\r';
            case 'b': return '\b';
            case 'f': return '\f';
            case '"':
            case '\\':
            case '/': return c;
            case 'u': return codeUnit();
            default:
                at--;
                throw unexpected();
        }
    }

    private char codeUnit() {
        int unit = 0;
        for (int index = 0; index < 4; index++) {
            int digit = Character.digit(peek(), 16);
            if (digit < 0) {
                throw unexpected();
            }
            unit = unit << 4 | digit;
            at++;
        }
        return (char) unit;
    }

    private Number number() {
        int start = at;
        boolean isWhole = true;
        if (peek() == '-') {
            at++;
        }
        boolean leadsWithZero = peek() == '0';
        int first = at;
        digits();
        if (leadsWithZero && at > first + 1) {
            at = first + 1;
            throw unexpected();
        }
        if (at < text.length() && text.charAt(at) == '.') {
            isWhole = false;
            at++;
            digits();
        }
        if (at < text.length() && (text.charAt(at) == 'e' || text.charAt(at) == 'E')) {
            isWhole = false;
            at++;
            if (peek() == '+' || peek() == '-') {
                at++;
            }
            digits();
        }
        if (at - start > NUMBER_CHARS_MAX) {
            throw new IllegalArgumentException("Number length exceeds " + NUMBER_CHARS_MAX);
        }
        String digits = text.substring(start, at);
        return isWhole ? whole(digits) : new BigDecimal(digits);
    }

    private static Number whole(String digits) {
        if (digits.length() > 18) {
            BigInteger big = new BigInteger(digits);
            if (big.bitLength() > 63) {
                return big;
            }
        }
        long number = Long.parseLong(digits);
        boolean isSmall = number == (int) number;
        return isSmall ? (Number) Integer.valueOf((int) number) : (Number) Long.valueOf(number);
    }

    private void digits() {
        int first = at;
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        if (at == first) {
            throw unexpected();
        }
    }
}
