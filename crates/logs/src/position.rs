//! Where an event stands in its group: the one order behind event ids and all pagination tokens of events.
//!
//! A token holds a boundary: forward reads what stands at or after it, backward what stands before it. It needs
//! no memory on our side, and the same boundary serves both directions.

use gatemill_wire::pagination;

/// The latest time that fits into a position: the year 5138.
pub(crate) const TIME_MS_MAX: i64 = 99_999_999_999_999;

const DIGITS: usize = 56;

/// The place of an event: time, stream, chunk, and place in the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    pub(crate) ms: i64,
    pub(crate) stream: u64,
    pub(crate) chunk: u64,
    pub(crate) index: u32,
}

impl Position {
    /// The boundary before everything of this time.
    pub(crate) fn at(ms: i64) -> Self {
        Self { ms: ms.clamp(0, TIME_MS_MAX), stream: 0, chunk: 0, index: 0 }
    }

    /// The boundary right after this event.
    pub(crate) fn after(self) -> Self {
        Self { index: self.index + 1, ..self }
    }

    /// The 56 digits of an event id, as AWS's are; they sort as events do.
    pub(crate) fn digits(self) -> String {
        let Self { ms, stream, chunk, index } = self;
        format!("{ms:014}{stream:020}{chunk:014}{index:08}")
    }

    /// Reads [`Self::digits`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            ms: text[..14].parse().ok()?,
            stream: text[14..34].parse().ok()?,
            chunk: text[34..48].parse().ok()?,
            index: text[48..].parse().ok()?,
        })
    }
}

/// Which way a page reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// The token of `GetLogEvents`: `f/<boundary>/s` or `b/<boundary>/s`.
pub(crate) fn stream_token(direction: Direction, boundary: Position) -> String {
    let letter = match direction {
        Direction::Forward => 'f',
        Direction::Backward => 'b',
    };
    format!("{letter}/{}/s", boundary.digits())
}

/// Reads [`stream_token`].
pub(crate) fn parse_stream_token(token: &str) -> Option<(Direction, Position)> {
    let (letter, rest) = token.split_once('/')?;
    let direction = direction(letter)?;
    let boundary = Position::parse(rest.strip_suffix("/s")?)?;
    Some((direction, boundary))
}

/// The token of `FilterLogEvents`.
pub(crate) fn group_token(direction: Direction, boundary: Position) -> String {
    pagination::token(stream_token(direction, boundary).as_bytes())
}

/// Reads [`group_token`].
pub(crate) fn parse_group_token(token: &str) -> Option<(Direction, Position)> {
    parse_stream_token(std::str::from_utf8(&pagination::key(token)?).ok()?)
}

fn direction(letter: &str) -> Option<Direction> {
    match letter {
        "f" => Some(Direction::Forward),
        "b" => Some(Direction::Backward),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_strangers_are_refused() {
        let position =
            Position { ms: TIME_MS_MAX, stream: u64::MAX, chunk: 99_999_999_999_999, index: 7 };
        assert_eq!(position.digits().len(), DIGITS);
        for direction in [Direction::Forward, Direction::Backward] {
            let token = stream_token(direction, position);
            assert_eq!(parse_stream_token(&token), Some((direction, position)));
            let token = group_token(direction, position);
            assert_eq!(parse_group_token(&token), Some((direction, position)));
        }
        let digits = Position::at(5).digits();
        for token in ["", "f", "f/", "f//s", "x/1/s", "f/é/s"] {
            assert_eq!(parse_stream_token(token), None, "{token}");
            assert_eq!(parse_group_token(token), None, "{token}");
        }
        assert_eq!(parse_stream_token(&format!("f/{digits}")), None);
        // More than a u64 in the stream's digits.
        assert_eq!(Position::parse(&"9".repeat(DIGITS)), None);
    }

    #[test]
    fn digits_sort_as_positions_do() {
        let low = Position { ms: 1, stream: 9, chunk: 9, index: 9 };
        let high = Position { ms: 2, stream: 0, chunk: 0, index: 0 };
        assert!(low < high && low.digits() < high.digits());
        assert!(low < low.after());
        assert_eq!(Position::at(-5).ms, 0);
    }
}
