//! The addresses of one sandboxd's sandboxes.
//!
//! Several servers of one host may have the same pool: each claims blocks of 256 as it needs them. What was given back is
//! used again as late as possible, because the kernel takes its time over the interface of an ended sandbox, and late
//! packets for it may still be on their way.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;

use super::Pool;
use super::claim::{self, Claim};
use crate::limits;

#[derive(Debug)]
pub(super) struct Addresses {
    pool: Pool,
    /// The block to be asked for first; servers begin at different ones.
    first: u32,
    asked: u32,
    blocks: Vec<Claim>,
    free: VecDeque<Ipv4Addr>,
}

impl Addresses {
    pub(super) fn of(pool: Pool, slot: u16) -> Self {
        let first = u32::from(slot) % pool.blocks();
        Self { pool, first, asked: 0, blocks: Vec::new(), free: VecDeque::new() }
    }

    /// An address that nobody has.
    ///
    /// # Errors
    /// `EAGAIN` when the pool is used up.
    pub(super) fn take(&mut self) -> io::Result<Ipv4Addr> {
        if self.free.len() < limits::EGRESS_ADDRESSES_RESTING {
            self.claim_block();
        }
        self.free.pop_front().ok_or_else(|| io::Error::from_raw_os_error(libc::EAGAIN))
    }

    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        self.free.push_back(address);
    }

    /// A block is asked for once: one that another server had is its own for long.
    fn claim_block(&mut self) {
        while self.asked < self.pool.blocks() {
            let block = self.pool.block((self.first + self.asked) % self.pool.blocks());
            self.asked += 1;
            if let Some(claim) = claim::of(&format!("block/{block}")) {
                self.blocks.push(claim);
                // Without the first and the last, which look like a network's and a broadcast's.
                let start = u32::from(block);
                // In front: they rest for longer than any that came back.
                (start + 1..start + 255)
                    .rev()
                    .for_each(|a| self.free.push_front(Ipv4Addr::from(a)));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool of this test and this process: claims are seen by everybody.
    fn pool(test: u32) -> Pool {
        let number = (std::process::id() * 2 + test) % (1 << 13);
        Pool::new(Ipv4Addr::from(0x0A80_0000 + number * 1024), 22).unwrap()
    }

    #[test]
    fn what_came_back_rests() {
        let mut addresses = Addresses::of(pool(0), 0);
        let first = addresses.take().unwrap();
        addresses.give_back(first);
        let next: Vec<_> =
            (0..limits::EGRESS_ADDRESSES_RESTING).map(|_| addresses.take().unwrap()).collect();
        assert!(!next.contains(&first));
    }

    #[test]
    fn two_servers_share_a_pool_and_no_address() {
        let mut one = Addresses::of(pool(1), 7);
        let mut other = Addresses::of(pool(1), 7);
        let a: Vec<_> = (0..200).map(|_| one.take().unwrap()).collect();
        let b: Vec<_> = (0..200).map(|_| other.take().unwrap()).collect();
        assert!(a.iter().all(|address| !b.contains(address)));
        let used_up = (0..1200).find_map(|_| one.take().err()).unwrap();
        assert_eq!(used_up.raw_os_error(), Some(libc::EAGAIN));
    }
}
