//! The two file descriptors of an environment, and one question and answer over them.
//!
//! Output is read while the answer is awaited, so that a function that prints much never blocks on its pipe; what was
//! printed before the answer is read to its end before the answer is given on. The bytes of the other side are hostile;
//! everything here is bounded by a deadline.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, IoSlice, PipeReader, Read as _, Write as _},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use gatemill_sandbox::{Fate, Sandbox, Turn};
use gatemill_wire::{Clock, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};

use crate::{
    call_log::CallLog,
    external::{self, External},
    frame::{Frame, Garbage, InvokeMeta, Kind, Reader},
    limits::{ON_THE_SPOT, ON_THE_SPOT_CPU, ON_THE_SPOT_MAX},
    log_pump::LogPump,
    runtime_api::{
        Api, Facts,
        extension::{Extension, Failure},
        stage::{Said, Stage},
    },
};

/// What is read at one time. Per thread, so that idle environments hold no buffers.
const SCRATCH_BYTES: usize = 64 * 1024;
/// What is read of the output after an answer, at most: a pipe holds no more, and a thread that prints on without end
/// shall not hold the answer back.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// The channel and the output of an environment, registered with one reactor.
#[derive(Debug)]
pub(crate) struct Wires {
    channel: AsyncFd<Channel>,
    output: AsyncFd<Output>,
    /// Whether anyone can still write to the output.
    output_open: bool,
    codec: Codec,
    pub(crate) api: Api,
    /// The processes of external extensions, where there are any.
    pub(crate) external: Option<Box<External>>,
}

/// What the runtime speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Frames over the channel: our own clients.
    Frames,
    /// The Runtime API over HTTP: AWS's clients.
    RuntimeApi,
}

/// The channel of a sandbox, which owns the descriptor.
#[derive(Debug)]
struct Channel(Arc<Sandbox>);

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.channel.as_raw_fd()
    }
}

/// The output of a sandbox, which owns the descriptor.
#[derive(Debug)]
struct Output(Arc<Sandbox>);

impl AsRawFd for Output {
    fn as_raw_fd(&self) -> RawFd {
        self.0.output.as_raw_fd()
    }
}

/// What the other side was heard to say.
#[derive(Debug)]
pub(crate) enum Heard {
    Frame(Frame),
    /// The channel is closed.
    Closed,
    /// The channel was closed before anything of the question was written.
    NotDelivered,
    DeadlinePassed,
    Garbage(Garbage),
    /// An extension gave up, and the environment with it.
    ExtensionFailed(Failure),
}

/// A question on its way: what stands before the payload, and the payload itself, which is never copied.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    head: BytesMut,
    payload: Bytes,
    begun: bool,
}

impl Outgoing {
    pub(crate) fn new(head: BytesMut, payload: Bytes) -> Self {
        Self { head, payload, begun: false }
    }

    fn is_done(&self) -> bool {
        self.head.is_empty() && self.payload.is_empty()
    }

    /// Writes as much as the socket takes.
    fn write_to(&mut self, mut channel: &UnixStream) -> io::Result<()> {
        while !self.is_done() {
            let parts = [IoSlice::new(&self.head), IoSlice::new(&self.payload)];
            let mut written = channel.write_vectored(&parts)?;
            self.begun = true;
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            written -= of_head;
            self.payload.advance(written);
        }
        Ok(())
    }
}

impl Wires {
    /// Registers both with the reactor of this thread.
    pub(crate) fn register(sandbox: &Arc<Sandbox>) -> io::Result<Self> {
        let (channel, output) = (Channel(Arc::clone(sandbox)), Output(Arc::clone(sandbox)));
        let external = External::register(sandbox)?.map(Box::new);
        Self::watch(channel, output, true, Codec::Frames, Api::register(sandbox)?, external)
    }

    /// Moves both to the reactor of this thread.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        let (channel, output) = (self.channel.into_inner(), self.output.into_inner());
        let external = self.external.map(|external| external.move_here().map(Box::new));
        let (api, external) = (self.api.move_here()?, external.transpose()?);
        Self::watch(channel, output, self.output_open, self.codec, api, external)
    }

    #[allow(
        deprecated,
        reason = "its successor is an unsafe function for descriptors that might be closed while they are watched; \
                  these two are owned by the sandbox, which the watched value itself keeps"
    )]
    fn watch(
        channel: Channel,
        output: Output,
        output_open: bool,
        codec: Codec,
        api: Api,
        external: Option<Box<External>>,
    ) -> io::Result<Self> {
        Ok(Self {
            channel: AsyncFd::new(channel)?,
            output: AsyncFd::with_interest(output, Interest::READABLE)?,
            output_open,
            codec,
            api,
            external,
        })
    }

    /// Begins to serve the APIs inside, now that the function is known. `external` are the names of its external extensions.
    pub(crate) fn open(&mut self, codec: Codec, facts: Facts, external: Vec<String>) {
        self.codec = codec;
        self.api.open(facts, codec == Codec::RuntimeApi);
        if let (Some(stage), Some(own)) = (self.api.stage_mut(), &mut self.external) {
            stage.extensions.expect(&external);
            own.all = external.into_iter().map(|name| (name, true)).collect();
        }
    }

    /// Whether there is any extension: the end of the environment is told to it then.
    pub(crate) fn has_extensions(&self) -> bool {
        self.api.stage().is_some_and(|stage| !stage.extensions.all().is_empty())
    }

    /// What happened to processes beside the runtime, and to the runtime where it has some.
    fn hear_external(
        &mut self,
        reader: &mut Reader,
        log: &mut CallLog,
        now: Timestamp,
    ) -> Option<Heard> {
        let external = self.external.as_mut()?;
        match external.take(log, now) {
            // What the runtime said before its end is heard first.
            None | Some(external::Event::Runtime(_)) => {}
            Some(external::Event::Extension(index, fate)) => {
                let failure = external::failure(fate);
                if let Some(stage) = self.api.stage_mut() {
                    stage.extensions.exited(index, failure.kind);
                }
                return Some(Heard::ExtensionFailed(failure));
            }
            Some(external::Event::Gone) => return Some(Heard::Closed),
        }
        self.last_words(reader)
    }

    /// Of a runtime that ended beside extensions: what it left in the channel, else its end.
    fn last_words(&self, reader: &mut Reader) -> Option<Heard> {
        self.external.as_ref()?.runtime?;
        if self.codec == Codec::RuntimeApi {
            return Some(self.died());
        }
        loop {
            match receive(&self.channel.get_ref().0.channel, reader) {
                Ok(Some(heard)) => return Some(heard),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Heard::Closed),
            }
        }
    }

    /// Starts the runtime when all external extensions have registered.
    fn begin_runtime(&mut self) {
        let registered = |stage: &Stage| stage.extensions.have_registered();
        if let Some(external) = &mut self.external
            && self.api.stage().is_some_and(registered)
        {
            external.begin_runtime();
        }
    }

    /// An invocation, laid out for the runtime's codec; extensions are told of it, too.
    pub(crate) fn question(&mut self, meta: &InvokeMeta<'_>, payload: Bytes) -> Outgoing {
        if let Some(stage) = self.api.stage_mut()
            && stage.extensions.want_invocations()
        {
            stage.extensions.announce(meta);
        }
        match self.codec {
            Codec::Frames => Outgoing::new(meta.head(payload.len()), payload),
            Codec::RuntimeApi => {
                self.api.offer(meta, payload);
                Outgoing::default()
            }
        }
    }

    /// Nobody may register or subscribe any more. Gives the extensions that did.
    pub(crate) fn end_of_init(&mut self) -> &[Extension] {
        let Some(stage) = self.api.stage_mut() else { return &[] };
        stage.extensions.close();
        stage.extensions.all()
    }

    /// Whether some extension is told of calls.
    pub(crate) fn extensions_hear_calls(&self) -> bool {
        self.api.stage().is_some_and(|stage| stage.extensions.want_invocations())
    }

    /// Whether all extensions have done what they were told of.
    pub(crate) fn extensions_are_done(&self) -> bool {
        self.api.stage().is_none_or(|stage| stage.extensions.are_done())
    }

    /// Asks, and hears one frame. Cancelling leaves the environment unusable: drop it then.
    pub(crate) async fn converse(
        &mut self,
        mut outgoing: Outgoing,
        reader: &mut Reader,
        log: &mut CallLog,
        pump: &LogPump,
        clock: &dyn Clock,
        deadline: Instant,
    ) -> Heard {
        match reader.next() {
            Ok(None) => {}
            Ok(Some(frame)) => return Heard::Frame(frame),
            Err(garbage) => return Heard::Garbage(garbage),
        }
        let sleep = tokio::time::sleep_until(deadline);
        tokio::pin!(sleep);
        let sandbox = Arc::clone(&self.output.get_ref().0);
        let ended = sandbox.exited();
        tokio::pin!(ended);
        let frames = self.codec == Codec::Frames;
        // READY that has come while extensions are not ready.
        let mut ready_frame = None;
        let heard = loop {
            if let Err(heard) = self.send(&mut outgoing) {
                break heard;
            }
            if let Some(heard) = self.last_words(reader) {
                break heard;
            }
            let heard = tokio::select! {
                biased;
                () = &mut sleep => break Heard::DeadlinePassed,
                ready = self.channel.readable(), if frames => {
                    let Ok(mut ready) = ready else { break Heard::Closed };
                    match ready.try_io(|fd| receive(&fd.get_ref().0.channel, reader)) {
                        Ok(Ok(heard)) => heard,
                        Err(_) => None,
                        Ok(Err(_)) => break Heard::Closed,
                    }
                }
                ready = self.output.readable(), if self.output_open => {
                    let Ok(mut ready) = ready else { break Heard::Closed };
                    let read = ready
                        .try_io(|fd| read_output(&fd.get_ref().0.output, log, clock.now()));
                    if let Ok(Ok(0) | Err(_)) = read {
                        self.output_open = false;
                    }
                    None
                }
                ready = self.channel.writable(), if !outgoing.is_done() => {
                    if let Ok(mut ready) = ready {
                        // `send` finds out whether it really is.
                        ready.clear_ready();
                    }
                    None
                }
                said = std::future::poll_fn(|cx| self.api.poll(cx)) => match said {
                    Said::Runtime(kind, body) => Some(Heard::Frame(Frame { kind, body })),
                    Said::ExtensionFailed(failure) => Some(Heard::ExtensionFailed(failure)),
                    Said::Subscribed(subscription) => {
                        log.subscribe(*subscription, sandbox.sockets());
                        None
                    }
                    Said::ExtensionsAsked => ready_frame.take(),
                    Said::Registered => {
                        self.begin_runtime();
                        None
                    }
                },
                () = poll_external(&self.external), if self.external.is_some() => {
                    self.hear_external(reader, log, clock.now())
                }
                _ = &mut ended, if !frames => break self.died(),
            };
            match heard {
                Some(Heard::Frame(Frame { kind: Kind::Ready, body })) => {
                    let ready = Heard::Frame(Frame { kind: Kind::Ready, body });
                    if self.extensions_are_done() {
                        break ready;
                    }
                    ready_frame = Some(ready);
                }
                Some(heard) => break heard,
                None => {}
            }
            if log.is_full() {
                let events = log.take();
                tokio::select! {
                    biased;
                    () = &mut sleep => break Heard::DeadlinePassed,
                    () = pump.push(log.stream(), events) => {}
                }
            }
        };
        self.drain(log, clock.now());
        heard
    }

    /// Whether a thread may wait for the channel alone: nothing else has to go on for the answer to come.
    pub(crate) fn may_answer_at_once(&self) -> bool {
        self.codec == Codec::Frames && !self.extensions_hear_calls()
    }

    /// Asks, and hears one frame if it comes within [`ON_THE_SPOT`]; this thread sleeps meanwhile. `None` when it did
    /// not: then [`Self::converse`] goes on with the same question and reader.
    ///
    /// A function that is kept to the core of this thread, wants it and had little of it is waited for further: it may be as
    /// quick as ever and not have got the core, or cold, and never gets warm when others are begun beside it. What else this
    /// thread could do in the meantime would want the same core.
    pub(crate) fn converse_at_once(
        &mut self,
        is_kept_here: bool,
        outgoing: &mut Outgoing,
        reader: &mut Reader,
        log: &mut CallLog,
        clock: &dyn Clock,
    ) -> Option<Heard> {
        if let Err(heard) = self.send(outgoing) {
            return Some(heard);
        }
        let mut patience = Patience::new(Instant::now());
        while outgoing.is_done() {
            let left = patience.until.saturating_duration_since(Instant::now());
            let sandbox = &self.channel.get_ref().0;
            let channel = &sandbox.channel;
            let heard = match wait_readable(channel, left) {
                Ok(true) => receive(channel, reader),
                Ok(false) => {
                    let turn = if is_kept_here { sandbox.turn() } else { None };
                    if patience.lasts(turn, Instant::now()) {
                        continue;
                    }
                    return None;
                }
                Err(error) => Err(error),
            };
            let heard = match heard {
                Ok(Some(heard)) => heard,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => Heard::Closed,
            };
            self.drain(log, clock.now());
            return Some(heard);
        }
        None
    }

    /// Waits for something of ours, until `deadline` at the latest (`None` then). The function's output is read on
    /// meanwhile, so that it does not block on its pipe as well.
    pub(crate) async fn meanwhile<T>(
        &mut self,
        waited_for: impl Future<Output = T>,
        log: &mut CallLog,
        pump: &LogPump,
        clock: &dyn Clock,
        deadline: Instant,
    ) -> Option<T> {
        let sleep = tokio::time::sleep_until(deadline);
        tokio::pin!(sleep, waited_for);
        loop {
            tokio::select! {
                biased;
                done = &mut waited_for => return Some(done),
                () = &mut sleep => return None,
                ready = self.output.readable(), if self.output_open => {
                    let read = ready.map(|mut ready| ready.try_io(|fd| {
                        read_output(&fd.get_ref().0.output, log, clock.now())
                    }));
                    if let Err(_) | Ok(Ok(Ok(0) | Err(_))) = read {
                        self.output_open = false;
                    }
                }
            }
            if log.is_full() {
                let events = log.take();
                tokio::select! {
                    biased;
                    () = &mut sleep => return None,
                    () = pump.push(log.stream(), events) => {}
                }
            }
        }
    }

    /// Waits until all extensions have done what the last invocation gave them to do. `None` then, else what came instead.
    pub(crate) async fn linger(
        &mut self,
        log: &mut CallLog,
        pump: &LogPump,
        clock: &dyn Clock,
        deadline: Instant,
    ) -> Option<Heard> {
        let sleep = tokio::time::sleep_until(deadline);
        let sandbox = Arc::clone(&self.output.get_ref().0);
        let ended = sandbox.exited();
        tokio::pin!(sleep, ended);
        let heard = loop {
            if self.extensions_are_done() {
                break None;
            }
            tokio::select! {
                biased;
                () = &mut sleep => break Some(Heard::DeadlinePassed),
                said = std::future::poll_fn(|cx| self.api.poll(cx)) => {
                    if let Said::ExtensionFailed(failure) = said {
                        break Some(Heard::ExtensionFailed(failure));
                    }
                }
                () = poll_external(&self.external), if self.external.is_some() => {
                    let mut reader = Reader::new(0);
                    match self.hear_external(&mut reader, log, clock.now()) {
                        Some(Heard::ExtensionFailed(failure)) => {
                            break Some(Heard::ExtensionFailed(failure));
                        }
                        Some(_) => break Some(Heard::Closed),
                        None => {}
                    }
                }
                ready = self.output.readable(), if self.output_open => {
                    let read = ready.map(|mut ready| ready.try_io(|fd| {
                        read_output(&fd.get_ref().0.output, log, clock.now())
                    }));
                    if let Err(_) | Ok(Ok(Ok(0) | Err(_))) = read {
                        self.output_open = false;
                    }
                }
                _ = &mut ended => break Some(Heard::Closed),
            }
            if log.is_full() {
                let events = log.take();
                pump.push(log.stream(), events).await;
            }
        };
        self.drain(log, clock.now());
        heard
    }

    /// Serves what is inside until `over`, or `deadline`: an environment that is ending.
    pub(crate) async fn conclude(
        &mut self,
        log: &mut CallLog,
        pump: &LogPump,
        clock: &dyn Clock,
        deadline: Instant,
        over: impl Fn(&Self) -> bool,
    ) {
        let sleep = tokio::time::sleep_until(deadline);
        let sandbox = Arc::clone(&self.output.get_ref().0);
        let ended = sandbox.exited();
        tokio::pin!(sleep, ended);
        while !over(self) {
            tokio::select! {
                biased;
                () = &mut sleep => return,
                _ = &mut ended => return,
                // What it means for a call means nothing any more.
                _ = std::future::poll_fn(|cx| self.api.poll(cx)) => {}
                () = poll_external(&self.external), if self.external.is_some() => {
                    if let Some(external) = &mut self.external {
                        while external.take(log, clock.now()).is_some() {}
                    }
                }
                ready = self.output.readable(), if self.output_open => {
                    let read = ready.map(|mut ready| ready.try_io(|fd| {
                        read_output(&fd.get_ref().0.output, log, clock.now())
                    }));
                    if let Err(_) | Ok(Ok(Ok(0) | Err(_))) = read {
                        self.output_open = false;
                    }
                }
            }
            if log.is_full() {
                let events = log.take();
                pump.push(log.stream(), events).await;
            }
        }
    }

    /// Whether the runtime is gone; without external extensions it is the sandbox that is.
    pub(crate) fn runtime_has_ended(&self) -> bool {
        match &self.external {
            Some(external) => external.runtime.is_some() || !external.has_begun_runtime(),
            None => self.output.get_ref().0.has_ended(),
        }
    }

    /// How a runtime ended that has external extensions beside it.
    pub(crate) fn runtime_fate(&self) -> Option<Fate> {
        self.external.as_ref()?.runtime
    }

    /// Whether no external extension runs any more.
    pub(crate) fn extensions_have_ended(&self) -> bool {
        self.external.as_ref().is_none_or(|external| !external.any_runs())
    }

    /// Tells external extensions of the end; those that did not ask to be told are killed.
    pub(crate) fn announce_end(&mut self, reason: &str, deadline_ms: i64) {
        let (Some(stage), Some(external)) = (self.api.stage_mut(), &self.external) else { return };
        let told = stage.extensions.shut_down(reason, deadline_ms);
        for (index, told) in told.into_iter().enumerate() {
            if !told {
                external.holder().kill(index);
            }
        }
    }

    /// A runtime that speaks the Runtime API ended.
    fn died(&self) -> Heard {
        let has_taken = self.api.stage().is_none_or(Stage::has_taken);
        if has_taken { Heard::Closed } else { Heard::NotDelivered }
    }

    /// Whether nothing arrived since the last answer. What a runtime says unasked, and that it died meanwhile, must not
    /// become the answer to the next question. The read that finds nothing also tells the reactor so, which the wait for
    /// the answer would have to do else.
    ///
    /// A runtime that speaks the Runtime API asks for its next invocation meanwhile; there only its end counts. An extension
    /// whose process ended is no environment to go on with, either.
    pub(crate) fn is_quiet(&mut self, log: &mut CallLog, now: Timestamp) -> bool {
        if self.external.as_mut().is_some_and(|external| external.take(log, now).is_some()) {
            return false;
        }
        if self.codec == Codec::RuntimeApi {
            return !self.channel.get_ref().0.has_ended();
        }
        let read = self.channel.try_io(Interest::READABLE, |fd| {
            let mut byte = [0];
            (&fd.0.channel).read(&mut byte)
        });
        matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Writes on; a channel that is full is tried again when it is writable.
    fn send(&self, outgoing: &mut Outgoing) -> Result<(), Heard> {
        match outgoing.write_to(&self.channel.get_ref().0.channel) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) if outgoing.begun => Err(Heard::Closed),
            Err(_) => Err(Heard::NotDelivered),
        }
    }

    /// Reads what is in the output now. It asks the pipe itself and not the reactor's memory of it, so that nothing
    /// that was printed before the answer is left behind.
    pub(crate) fn drain(&mut self, log: &mut CallLog, now: Timestamp) {
        let mut drained = 0;
        while self.output_open && drained < DRAIN_BYTES_MAX {
            match read_output(&self.output.get_ref().0.output, log, now) {
                Ok(0) => self.output_open = false,
                Ok(read) => drained += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.output_open = false,
            }
        }
        if let Some(external) = &mut self.external {
            external.drain(log, now);
        }
    }
}

/// Resolves when something of external extensions can be heard.
fn poll_external(external: &Option<Box<External>>) -> impl Future<Output = ()> {
    std::future::poll_fn(move |cx| match external {
        Some(external) => external.poll_ready(cx),
        None => Poll::Pending,
    })
}

/// How long an answer is waited for on the spot.
#[derive(Debug)]
struct Patience {
    /// When the function is looked at next.
    until: Instant,
    /// When it is over, whatever the function does.
    end: Instant,
    /// How long the function had run when it was looked at first.
    ran: Option<Duration>,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self { until: now + ON_THE_SPOT, end: now + ON_THE_SPOT_MAX, ran: None }
    }

    /// Whether it is worth to wait on: the function wants the CPU, and has not had much of it.
    fn lasts(&mut self, turn: Option<Turn>, now: Instant) -> bool {
        let Some(turn) = turn.filter(|turn| turn.wants_cpu && now < self.end) else { return false };
        let before = *self.ran.get_or_insert(turn.ran);
        self.until = now + ON_THE_SPOT;
        turn.ran.saturating_sub(before) < ON_THE_SPOT_CPU
    }
}

/// Sleeps until there is something to read, or this long; whether there is.
fn wait_readable(channel: &UnixStream, at_most: Duration) -> io::Result<bool> {
    let limit =
        Timespec::try_from(at_most).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    Ok(poll(&mut [PollFd::new(channel, PollFlags::IN)], Some(&limit))? > 0)
}

fn receive(mut channel: &UnixStream, reader: &mut Reader) -> io::Result<Option<Heard>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let read = channel.read(scratch)?;
        if read == 0 {
            return Ok(Some(Heard::Closed));
        }
        Ok(match reader.push(&scratch[..read]) {
            Ok(frame) => frame.map(Heard::Frame),
            Err(garbage) => Some(Heard::Garbage(garbage)),
        })
    })
}

fn read_output(output: &PipeReader, log: &mut CallLog, now: Timestamp) -> io::Result<usize> {
    read_pipe(output, |bytes| log.output(now, bytes))
}

/// Reads once, without blocking, and gives on what was read.
pub(crate) fn read_pipe(mut pipe: &PipeReader, take: impl FnOnce(&[u8])) -> io::Result<usize> {
    SCRATCH.with_borrow_mut(|scratch| {
        let read = pipe.read(scratch)?;
        take(&scratch[..read]);
        Ok(read)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(wants_cpu: bool, ran: Duration) -> Option<Turn> {
        Some(Turn { wants_cpu, ran })
    }

    #[test]
    fn only_who_wants_the_cpu_and_had_little_of_it_is_waited_for_further() {
        let now = Instant::now();
        let ran = Duration::from_secs(7);
        assert!(!Patience::new(now).lasts(None, now));
        assert!(!Patience::new(now).lasts(turn(false, ran), now));
        let mut patience = Patience::new(now);
        assert!(patience.lasts(turn(true, ran), now + ON_THE_SPOT));
        assert_eq!(patience.until, now + 2 * ON_THE_SPOT);
        assert!(patience.lasts(turn(true, ran + ON_THE_SPOT_CPU / 2), now + 2 * ON_THE_SPOT));
        assert!(!patience.lasts(turn(true, ran + ON_THE_SPOT_CPU), now + 3 * ON_THE_SPOT));
    }

    #[test]
    fn patience_has_an_end() {
        let now = Instant::now();
        let mut patience = Patience::new(now);
        assert!(patience.lasts(turn(true, Duration::ZERO), now + ON_THE_SPOT_MAX / 2));
        assert!(!patience.lasts(turn(true, Duration::ZERO), now + ON_THE_SPOT_MAX));
    }
}
