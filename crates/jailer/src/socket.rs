//! Sending and receiving whole messages, with descriptors, over a `SOCK_SEQPACKET` socket; and
//! sockets that take no descriptors.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use crate::sys;

/// Most descriptors of one message.
const MAX_FDS: usize = 16;

/// A connected pair for whole messages.
///
/// # Errors
/// The system's.
pub fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// As [`pair`], and the first end hears who sends ([`receive_from`]). From the beginning, since what was sent before the kernel
/// was asked to say that has no sender.
pub(crate) fn pair_with_senders() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pair()?;
    set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

/// Sends one message.
///
/// # Errors
/// The system's, `AGAIN` among them when `wait` is false and the socket is full.
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::DONTWAIT, !wait);
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

/// Makes a unix socket refuse descriptors that its peer passes. `false` where the kernel cannot
/// (before Linux 6.16).
///
/// Whoever reads from a unix socket also takes, and at once closes, the descriptors that were passed
/// with the bytes, asked for or not. What their last close does, and how long it takes, is then the
/// choice of the peer: of a TCP socket that lingers, minutes.
///
/// # Errors
/// The system's.
pub fn refuse_descriptors(socket: impl AsFd) -> io::Result<bool> {
    const SO_PASSRIGHTS: i32 = 83;
    match sys::set_socket_option(socket.as_fd(), SO_PASSRIGHTS, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Whether [`refuse_descriptors`] works here.
pub(crate) fn can_refuse_descriptors() -> io::Result<bool> {
    refuse_descriptors(std::os::unix::net::UnixStream::pair()?.0)
}

/// Receives one message into `buffer`: its length (0 at the end of the connection) and descriptors;
/// none when this process had no room for them all.
///
/// # Errors
/// The system's; `MSGSIZE` for a message that is longer than the buffer.
pub fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    wait: bool,
) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    receive_from(socket, buffer, wait).map(|(length, fds, _)| (length, fds))
}

/// As [`receive`], and the pid of the sender where the socket was told to ask for it.
///
/// # Errors
/// As [`receive`].
pub(crate) fn receive_from(
    socket: impl AsFd,
    buffer: &mut [u8],
    wait: bool,
) -> rustix::io::Result<(usize, Vec<OwnedFd>, Option<u32>)> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    flags.set(RecvFlags::DONTWAIT, !wait);
    let message = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(message) => break message,
        }
    };
    let (mut fds, mut sender) = (Vec::new(), None);
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
            RecvAncillaryMessage::ScmCredentials(who) => {
                sender = Some(who.pid.as_raw_nonzero().get().cast_unsigned());
            }
            _ => {}
        }
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        fds.clear();
    }
    Ok((message.bytes, fds, sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sends_first_is_known() {
        let (ours, theirs) = pair_with_senders().unwrap();
        send(&theirs, b"x", &[], false).unwrap();
        let (length, _, sender) = receive_from(&ours, &mut [0; 8], false).unwrap();
        assert_eq!((length, sender), (1, Some(std::process::id())));
    }
}
