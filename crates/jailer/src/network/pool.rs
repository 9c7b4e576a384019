//! The range of addresses for sandboxes.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A private range of addresses, written `10.187.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    first: u32,
    prefix: u8,
}

/// A range that cannot be a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a private range of IPv4 addresses from /8 to /24, such as 10.187.0.0/16")]
pub struct PoolError;

/// The ranges that are nobody's in the internet: private (RFC 1918), shared (RFC 6598) and for benchmarks (RFC 2544).
const PRIVATE: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
];

impl Pool {
    /// The range that begins with `first` and shares its upper `prefix` bits.
    ///
    /// # Errors
    /// [`PoolError`] when it is not private, not from /8 to /24, or does not begin there.
    pub fn new(first: Ipv4Addr, prefix: u8) -> Result<Self, PoolError> {
        let bits = u32::from(first);
        let inside = |(start, length): &(Ipv4Addr, u8)| {
            prefix >= *length && bits & mask(*length) == u32::from(*start)
        };
        let fits = (8..=24).contains(&prefix) && bits & !mask(prefix) == 0;
        if fits && PRIVATE.iter().any(inside) {
            Ok(Self { first: bits, prefix })
        } else {
            Err(PoolError)
        }
    }

    /// Its first address.
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// How many upper bits all its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// How many blocks of 256 addresses it has.
    pub(super) fn blocks(self) -> u32 {
        1 << (24 - self.prefix)
    }

    /// The first address of a block.
    pub(super) fn block(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.first + number * 256)
    }

    /// Whether a route to `first`/`mask` leads to some of its addresses. The default route leads nowhere in particular.
    pub(super) fn overlaps(self, first: u32, route_mask: u32) -> bool {
        let common = route_mask & mask(self.prefix);
        route_mask != 0 && first & common == self.first & common
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl Default for Pool {
    fn default() -> Self {
        Self { first: Ipv4Addr::new(10, 187, 0, 0).into(), prefix: 16 }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), self.prefix)
    }
}

impl FromStr for Pool {
    type Err = PoolError;

    fn from_str(text: &str) -> Result<Self, PoolError> {
        let (first, prefix) = text.split_once('/').ok_or(PoolError)?;
        let first = first.parse().map_err(|_| PoolError)?;
        Self::new(first, prefix.parse().map_err(|_| PoolError)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_ranges_are_taken_and_others_are_not() {
        for good in
            ["10.0.0.0/8", "10.187.0.0/16", "172.31.7.0/24", "192.168.0.0/16", "100.64.0.0/10"]
        {
            assert_eq!(good.parse::<Pool>().unwrap().to_string(), good);
        }
        let bad = [
            "10.187.0.0",
            "10.187.0.1/16",
            "10.0.0.0/25",
            "8.8.0.0/16",
            "172.0.0.0/8",
            "10.1.0.0/x",
            "::/8",
        ];
        for bad in bad {
            assert_eq!(bad.parse::<Pool>(), Err(PoolError), "{bad}");
        }
    }

    #[test]
    fn routes_overlap_in_both_directions() {
        let pool = Pool::default();
        let bits = |a, b, c, d| u32::from(Ipv4Addr::new(a, b, c, d));
        assert!(pool.overlaps(bits(10, 187, 5, 0), mask(24)));
        assert!(pool.overlaps(bits(10, 0, 0, 0), mask(8)));
        assert!(!pool.overlaps(bits(10, 186, 0, 0), mask(16)));
        assert!(!pool.overlaps(0, 0), "a default route is no overlap");
    }
}
