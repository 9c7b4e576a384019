package com.amazonaws.services.lambda.runtime.logging;

/** How a function's log records are written. */
public enum LogFormat {
    JSON, TEXT;

    /** {@link #JSON} for that name in any case, else {@link #TEXT}. */
    public static LogFormat fromString(String name) {
        return JSON.name().equalsIgnoreCase(name) ? JSON : TEXT;
    }
}
