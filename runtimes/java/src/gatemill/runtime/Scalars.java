package gatemill.runtime;

import java.lang.reflect.InvocationTargetException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.net.URL;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.Calendar;
import java.util.Currency;
import java.util.Date;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;
import java.util.UUID;

/** The values that JSON has one text, number or word for, and how lenient their reading is. */
final class Scalars {
    private static final String JODA = "org.joda.time.DateTime";

    /** From a text that is not empty; null for a text that cannot be one. */
    private interface FromText {
        Object read(String text) throws Exception;
    }

    private static final Map<Class<?>, FromText> FROM_TEXT = new HashMap<>();
    private static final Map<Class<?>, Object> ZEROS = new HashMap<>();

    static {
        FROM_TEXT.put(byte[].class, text -> Base64.getDecoder().decode(text));
        FROM_TEXT.put(ByteBuffer.class, text -> ByteBuffer.wrap(Base64.getDecoder().decode(text)));
        FROM_TEXT.put(UUID.class, UUID::fromString);
        FROM_TEXT.put(URI.class, URI::create);
        FROM_TEXT.put(URL.class, URL::new);
        FROM_TEXT.put(Locale.class, text -> Locale.forLanguageTag(text.replace('_', '-')));
        FROM_TEXT.put(Currency.class, Currency::getInstance);
        FROM_TEXT.put(TimeZone.class, TimeZone::getTimeZone);
        FROM_TEXT.put(StringBuilder.class, StringBuilder::new);
        ZEROS.put(boolean.class, false);
        ZEROS.put(char.class, '\0');
        ZEROS.put(byte.class, (byte) 0);
        ZEROS.put(short.class, (short) 0);
        ZEROS.put(int.class, 0);
        ZEROS.put(long.class, 0L);
        ZEROS.put(float.class, 0f);
        ZEROS.put(double.class, 0d);
    }

    private Scalars() {}

    static boolean isScalar(Class<?> raw) {
        return raw.isPrimitive() || raw == String.class || raw == CharSequence.class
                || raw == Boolean.class || raw == Character.class || raw == Calendar.class
                || Number.class.isAssignableFrom(raw) || Date.class.isAssignableFrom(raw)
                || Enum.class.isAssignableFrom(raw) || Calendar.class.isAssignableFrom(raw)
                || ByteBuffer.class.isAssignableFrom(raw) || TimeZone.class.isAssignableFrom(raw)
                || CharSequence.class.isAssignableFrom(raw) || FROM_TEXT.containsKey(raw)
                || raw == Class.class || raw.getName().equals(JODA);
    }

    /** The value of a property that is null: zero for a primitive. */
    static Object absent(Class<?> raw) {
        return ZEROS.get(raw);
    }

    static Object read(Object node, Class<?> raw) {
        if (node instanceof Map || node instanceof java.util.List) {
            throw Mapper.mismatch(node, raw);
        }
        if (node == null) {
            return absent(raw);
        }
        if (raw == String.class || raw == CharSequence.class) {
            return node.toString();
        }
        String text = node instanceof String ? ((String) node).trim() : null;
        if (text != null && text.isEmpty() && raw != char.class && raw != Character.class
                && raw != byte[].class && raw != StringBuilder.class) {
            return absent(raw);
        }
        try {
            return convert(node, raw, node instanceof String ? (String) node : null);
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(error.getCause());
        } catch (RuntimeException error) {
            throw error;
        } catch (Exception error) {
            throw new IllegalArgumentException(error);
        }
    }

    private static Object convert(Object node, Class<?> raw, String text) throws Exception {
        if (raw == boolean.class || raw == Boolean.class) {
            return bool(node, raw);
        }
        if (raw == char.class || raw == Character.class) {
            return character(node, raw);
        }
        if (raw.isPrimitive() || Number.class.isAssignableFrom(raw)) {
            return number(node, raw);
        }
        if (Enum.class.isAssignableFrom(raw)) {
            return constant(node, raw);
        }
        if (Date.class.isAssignableFrom(raw)) {
            return raw.getConstructor(long.class).newInstance(milliseconds(node, raw));
        }
        if (Calendar.class.isAssignableFrom(raw)) {
            Calendar calendar = Calendar.getInstance(TimeZone.getTimeZone("UTC"));
            calendar.setTimeInMillis(milliseconds(node, raw));
            return calendar;
        }
        if (raw.getName().equals(JODA)) {
            Object given = text == null ? (Object) ((Number) node).longValue() : text;
            return raw.getConstructor(Object.class).newInstance(given);
        }
        FromText reader = FROM_TEXT.get(raw);
        if (reader == null || text == null) {
            throw Mapper.mismatch(node, raw);
        }
        return reader.read(text);
    }

    private static Object bool(Object node, Class<?> raw) {
        if (node instanceof Boolean) {
            return node;
        }
        if (node instanceof Number) {
            return ((Number) node).doubleValue() != 0;
        }
        if (node.equals("true") || node.equals("True") || node.equals("TRUE")) {
            return true;
        }
        if (node.equals("false") || node.equals("False") || node.equals("FALSE")) {
            return false;
        }
        throw Mapper.mismatch(node, raw);
    }

    private static Object character(Object node, Class<?> raw) {
        if (node instanceof Number) {
            return (char) ((Number) node).intValue();
        }
        String text = node.toString();
        if (text.length() != 1) {
            throw Mapper.mismatch(node, raw);
        }
        return text.charAt(0);
    }

    private static Object number(Object node, Class<?> raw) {
        if (node instanceof Boolean) {
            throw Mapper.mismatch(node, raw);
        }
        BigDecimal exact = node instanceof BigDecimal ? (BigDecimal) node
                : new BigDecimal(node.toString().trim());
        if (raw == double.class || raw == Double.class) {
            return exact.doubleValue();
        }
        if (raw == float.class || raw == Float.class) {
            return exact.floatValue();
        }
        if (raw == BigDecimal.class) {
            return exact;
        }
        if (raw == Number.class) {
            return node instanceof Number && !(node instanceof BigDecimal) ? node
                    : (Object) exact.doubleValue();
        }
        if (exact.precision() - (long) exact.scale() > 1000) {
            throw new IllegalArgumentException("Number " + node + " is too large for an integer");
        }
        BigInteger whole = exact.toBigInteger();
        if (raw == BigInteger.class) {
            return whole;
        }
        return integer(whole, raw);
    }

    private static Object integer(BigInteger whole, Class<?> raw) {
        boolean isInt = raw == int.class || raw == Integer.class;
        boolean isLong = raw == long.class || raw == Long.class;
        boolean isShort = raw == short.class || raw == Short.class;
        boolean isByte = raw == byte.class || raw == Byte.class;
        int bits = isLong ? 63 : isInt ? 31 : isShort ? 15 : 8;
        if (whole.bitLength() > bits) {
            throw new IllegalArgumentException(
                    "Numeric value (" + whole + ") out of range of " + raw.getSimpleName());
        }
        if (isLong) {
            return whole.longValue();
        }
        if (isInt) {
            return whole.intValue();
        }
        if (isShort) {
            return whole.shortValue();
        }
        if (isByte) {
            return whole.byteValue();
        }
        throw Mapper.mismatch(whole, raw);
    }

    /** An unknown name is null, as AWS has it. */
    private static Object constant(Object node, Class<?> raw) {
        Object[] constants = raw.getEnumConstants();
        for (Object constant : constants == null ? new Object[0] : constants) {
            boolean isIt = node instanceof Integer
                    ? ((Enum<?>) constant).ordinal() == (Integer) node
                    : ((Enum<?>) constant).name().equals(node);
            if (isIt) {
                return constant;
            }
        }
        return null;
    }

    private static long milliseconds(Object node, Class<?> raw) {
        if (node instanceof BigDecimal) {
            // AWS's events of streams carry seconds with a fraction.
            return ((BigDecimal) node).movePointRight(3).longValue();
        }
        if (node instanceof Number) {
            return ((Number) node).longValue();
        }
        if (!(node instanceof String)) {
            throw Mapper.mismatch(node, raw);
        }
        String text = ((String) node).trim();
        if (text.length() == 10) {
            text += "T00:00:00Z";
        }
        // +0000, which ISO 8601 has and Java's parser has not.
        text = text.replaceFirst("([+-]\\d\\d)(\\d\\d)$", "$1:$2");
        return OffsetDateTime.parse(text).toInstant().toEpochMilli();
    }

    static void write(Object value, StringBuilder out) {
        boolean isBare = value == null || value instanceof Boolean || value instanceof Number;
        if (value instanceof Double && !Double.isFinite((Double) value)
                || value instanceof Float && !Float.isFinite((Float) value)) {
            isBare = false;
        }
        if (value instanceof Date) {
            out.append(((Date) value).getTime());
        } else if (value instanceof Calendar) {
            out.append(((Calendar) value).getTimeInMillis());
        } else if (isBare) {
            out.append(value);
        } else {
            Json.writeString(text(value), out);
        }
    }

    private static String text(Object value) {
        if (value instanceof byte[]) {
            return Base64.getEncoder().encodeToString((byte[]) value);
        }
        if (value instanceof ByteBuffer) {
            ByteBuffer copy = ((ByteBuffer) value).duplicate();
            byte[] bytes = new byte[copy.remaining()];
            copy.get(bytes);
            return Base64.getEncoder().encodeToString(bytes);
        }
        if (value instanceof Enum) {
            return ((Enum<?>) value).name();
        }
        if (value instanceof TimeZone) {
            return ((TimeZone) value).getID();
        }
        return value instanceof Class ? ((Class<?>) value).getName() : value.toString();
    }

    /** The name that a map's key has in JSON. */
    static String key(Object key) {
        if (key instanceof Date) {
            Instant instant = Instant.ofEpochMilli(((Date) key).getTime());
            return DateTimeFormatter.ISO_INSTANT.format(instant);
        }
        return text(key);
    }
}
