package com.amazonaws.services.lambda.runtime.logging;

/** The severity of a log record. */
public enum LogLevel {
    UNDEFINED, TRACE, DEBUG, INFO, WARN, ERROR, FATAL;

    /** The level of that name in any case; {@link #UNDEFINED} for any other text and null. */
    public static LogLevel fromString(String name) {
        for (LogLevel level : values()) {
            if (level.name().equalsIgnoreCase(name)) {
                return level;
            }
        }
        return UNDEFINED;
    }
}
