//! The process of a parked sandbox that is going to be a program of which nothing can be booted ahead: confined as the
//! program will be, it waits for what that is, and becomes it.
//!
//! It hears of it over the program's own channel, from the server: the sandbox has been given its [`Assignment`] by then.
//! It is a copy of sandboxd in which nothing else runs, and holds no power that the program would not have.
//!
//! [`Assignment`]: crate::Assignment

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::confine::{CHANNEL, Image};
use crate::spec::{Invalid, Spec};
use crate::sys;

/// The longest order.
const ORDER_BYTES_MAX: usize = 1 << 20;

/// What a waiting process is told: the length of what follows and the number of arguments, four bytes each with the lowest
/// first, then, each ended by a zero byte, the program, the working directory, the arguments and the variables of the spec.
///
/// When it cannot execute that, it answers with the system's reason, four bytes, and ends with the code 127.
///
/// # Errors
/// When the spec is none that could be started.
pub fn order(spec: &Spec) -> Result<Vec<u8>, Invalid> {
    spec.validate()?;
    let too_long = Invalid { field: "env", problem: "is too long" };
    let arguments = u32::try_from(spec.args.len()).map_err(|_| too_long.clone())?;
    let mut body = arguments.to_le_bytes().to_vec();
    let mut put = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| body.extend_from_slice(part));
        body.push(0);
    };
    put(&[spec.program.as_os_str().as_encoded_bytes()]);
    put(&[spec.cwd.as_os_str().as_encoded_bytes()]);
    spec.args.iter().for_each(|argument| put(&[argument.as_bytes()]));
    spec.env.iter().for_each(|(name, value)| put(&[name.as_bytes(), b"=", value.as_bytes()]));
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= ORDER_BYTES_MAX);
    let length = length.ok_or(too_long)?;
    let mut order = length.to_le_bytes().to_vec();
    order.extend_from_slice(&body);
    Ok(order)
}

/// Waits for an order and obeys it.
pub(crate) fn wait() -> ! {
    // SAFETY: `session` put the channel there, and it stays open until this process ends.
    let channel = unsafe { BorrowedFd::borrow_raw(CHANNEL) };
    // Without an order the server has left the sandbox.
    if let Ok(body) = receive(channel) {
        let errno = obey(&body).raw_os_error().unwrap_or(libc::EIO);
        let _ = rustix::io::write(channel, &errno.to_le_bytes());
    }
    sys::exit_now(127)
}

fn receive(channel: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    read_whole(channel, &mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > ORDER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    read_whole(channel, &mut body)?;
    Ok(body)
}

fn read_whole(channel: BorrowedFd<'_>, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match rustix::io::read(channel, &mut *into) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => into = &mut into[read..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Returns only when it cannot be done.
fn obey(body: &[u8]) -> io::Error {
    let failed = |errno| io::Error::from_raw_os_error(errno);
    let Some(image) = image(body) else { return failed(libc::EINVAL) };
    if let Err(failure) = image.enter_cwd() {
        return failed(failure.errno);
    }
    failed(image.exec().errno)
}

fn image(body: &[u8]) -> Option<Image> {
    let (arguments, strings) = body.split_first_chunk()?;
    let arguments = usize::try_from(u32::from_le_bytes(*arguments)).ok()?;
    let mut strings = strings.strip_suffix(&[0])?.split(|byte| *byte == 0);
    let mut next = || CString::new(strings.next()?).ok();
    let (program, cwd) = (next()?, next()?);
    let mut args = vec![program.clone()];
    for _ in 0..arguments {
        args.push(next()?);
    }
    let env = strings.map(|variable| CString::new(variable).ok()).collect::<Option<_>>()?;
    Some(Image::new(program, args, env, cwd))
}
