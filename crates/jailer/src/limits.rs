//! Every bound of this crate, with the reason for its size. Nothing here is configurable: a request
//! that does not fit is a mistake of the caller, and is answered as such.

use std::time::Duration;

/// Longest message between the server and sandboxd, in bytes. A start request carries the
/// environment (AWS allows 4 KiB of variables; ours and the credentials add less than 8 KiB),
/// arguments and paths. Stays below the default socket buffer of 208 KiB.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Longest sandbox id.
pub const MAX_ID_BYTES: usize = 64;
/// Longest path in a request, Linux's own `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4096;
/// Most arguments of a program, `argv[0]` not counted: AWS allows 1,500 each in a container image's entry point and
/// command.
pub const MAX_ARGS: usize = 3_000;
/// Most environment variables.
pub const MAX_ENV: usize = 1024;
/// Most companions of a program: AWS takes ten extensions.
pub const MAX_COMPANIONS: usize = 10;
/// Most read-only binds of one sandbox.
pub const MAX_BINDS: usize = 64;
/// Most entries at the top of a container image; common ones have about twenty, each a mount of its own.
pub const MAX_ROOT_ENTRIES: usize = 256;
/// Highest function uid slot, exclusive; the slot above it is the uid of every sandbox's init.
pub const MAX_UID_SLOTS: u32 = 60_000;
/// Smallest memory limit that a runtime can start in.
pub const MIN_MEMORY_BYTES: u64 = 4 * 1024 * 1024;
/// Largest memory limit and `/tmp` that are accepted (AWS stops at 10 GiB; this is only sanity).
pub const MAX_SIZE_BYTES: u64 = 1 << 44;
/// Size of the root file system: directories, mount points and five small files.
pub const ROOT_BYTES: u64 = 1024 * 1024;
/// Size of `/dev/shm`.
pub const SHM_BYTES: u64 = 16 * 1024 * 1024;
/// Living sandboxes of one sandboxd: two descriptors each, under the common hard limit of 20,000.
pub const MAX_LIVING: usize = 9_000;
/// Depth of a path made inside a new root.
pub const MAX_PATH_DEPTH: usize = 64;
/// The period over which a CPU quota is counted. Short, so that a small share means short pauses.
pub const CPU_PERIOD_US: u64 = 20_000;
/// The smallest quota that the kernel accepts.
pub const MIN_CPU_QUOTA_US: u64 = 1_000;
/// The turn on the CPU that data-plane threads ask for: the least that the kernel knows. Who wants short turns gets them soon.
pub const CPU_TURN: Duration = Duration::from_micros(100);
/// In version 1 cgroups, sockets may hold this part of a sandbox's memory limit, beside it. A quarter
/// is several times what programs of that size have in flight.
pub const SOCKET_SHARE: u64 = 4;
/// How often the memory of sandboxes without a memory cgroup is summed.
pub const WATCHDOG_PERIOD: Duration = Duration::from_millis(50);
/// How often removing a cgroup is tried while its last processes die, and the pause between.
pub const CGROUP_REMOVE_TRIES: u32 = 200;
/// See [`CGROUP_REMOVE_TRIES`].
pub const CGROUP_REMOVE_PAUSE: Duration = Duration::from_millis(5);
/// Room for orders on the way to a template: of all starts that are under way at once.
pub const ORDERS_BYTES: i32 = 1024 * 1024;
/// How many ended sandboxes' `/tmp` is kept for their successors, at most.
pub const LEFT_MAX: usize = 1_000;
/// How many busy cgroups of ended sandboxes sandboxd looks after; further ones are left for the end.
pub const LEFTOVERS_MAX: usize = 4_096;
/// How long sandboxd waits for its sandboxes to die when it ends.
pub const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
/// Most processes looked at when a tree is walked through `/proc` (the kernel's usual `pid_max`
/// times four).
pub const MAX_PROCESSES: usize = 131_072;
/// Most passes over a process tree when it is killed without a pid namespace.
pub const KILL_PASSES: u32 = 64;
/// Above what is in `/tmp`, how much more a version 2 cgroup may take before it is slowed down.
pub const TMP_STEP: u64 = 16 * 1024 * 1024;
/// How fast a program is assumed to fill memory: 4 GiB/s.
pub const FILL_BYTES_PER_US: u64 = 4096;
/// The pauses between looks at a sandbox that is above its limit because of `/tmp` and cache.
pub const LOOK_SOONEST: Duration = Duration::from_millis(5);
/// See [`LOOK_SOONEST`].
pub const LOOK_LATEST: Duration = Duration::from_millis(500);

/// Files and directories in `/tmp` that a snapshot carries into its environments.
pub const MAX_COPIED_ENTRIES: usize = 100_000;
/// How often the processes of a snapshot's sandbox are looked at while some of them are ending.
pub(crate) const LOOKS_AT_SNAPSHOT: u32 = 40;
/// The pause between two such looks: all of them together are a few milliseconds, and rarely is there a second one.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_micros(200);
/// Reports of one snapshot that are read before others get their turn.
pub(crate) const REPORTS_AT_ONCE: u32 = 64;
/// The port of the Runtime API inside every network namespace, as AWS's.
pub const API_PORT: u16 = 9001;
/// Connections to it that wait to be accepted.
pub(crate) const API_BACKLOG: i32 = 128;
/// Servers of one host whose sandboxes may have a network.
pub(crate) const EGRESS_SLOTS: u16 = 64;
/// How long a server waits while another one sets up or removes its network.
pub(crate) const EGRESS_SETUP_WAIT: Duration = Duration::from_secs(5);
/// Addresses that rest before one of them is used again.
pub(crate) const EGRESS_ADDRESSES_RESTING: usize = 64;
/// Connections of one sandbox to the network at one time, those included that ended a moment ago: the table of
/// connections is one for the whole host, and a function that fills it would cut everybody off. As many as a function may
/// have open files.
pub(crate) const EGRESS_FLOWS_MAX: u32 = 1024;
/// Name servers in `/etc/resolv.conf`; the C library reads no more.
pub const MAX_RESOLVERS: usize = 3;
/// Longest sentence about why there is no network.
pub(crate) const MAX_REASON_BYTES: usize = 1024;

/// The largest CPU share of a spec, in thousandths of a CPU.
pub(crate) const MAX_CPU_MILLIS: u32 = 1_000_000;
