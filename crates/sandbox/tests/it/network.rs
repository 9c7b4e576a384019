//! What of the network programs reach, and what never: with one network namespace in the part of the host and another
//! in the part of the internet, since the machine of a test need not have any. It takes root.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gatemill_sandbox::{Config, Egress, ExitStatus, Network, Pool, Sandbox, Sandboxes};

use crate::world::{World, read_some};
use crate::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case("network_reaches_the_internet_alone", reaches_the_internet_alone),
    case("network_all_reaches_private_networks", all_reaches_private_networks),
    case("network_parts_sandboxes", parts_sandboxes),
    case("network_leaves_nothing", leaves_nothing),
    case("network_pool_must_be_free", pool_must_be_free),
    case("network_bounds_connections", bounds_connections),
];

/// In the part of the internet: addresses for documentation (RFC 5737).
const HOST: &str = "203.0.113.1";
/// Another of the host's addresses, on another interface.
const ELSEWHERE: &str = "198.51.100.1";
const SERVER: &str = "203.0.113.2";
/// In the part of a company's network, behind the same cable.
const PRIVATE: &str = "10.254.254.2";
const METADATA: &str = "169.254.169.254";
const PORT: u16 = 8000;

/// A server that tells who it thinks it speaks with, and answers questions at port 53.
const SERVER_CODE: &str = "
import socket, threading
names = socket.socket(type=socket.SOCK_DGRAM)
names.bind(('0.0.0.0', 53))
def answer():
    while True:
        _, asker = names.recvfrom(100)
        names.sendto(b'name', asker)
threading.Thread(target=answer, daemon=True).start()
server = socket.create_server(('0.0.0.0', 8000), backlog=4096)
print('ready', flush=True)
kept = []
while True:
    connection, peer = server.accept()
    connection.sendall(peer[0].encode() + b'\\n')
    kept.append(connection)
";

/// What hostile programs of these tests begin with: tries many addresses at one time.
const REACH: &str = "
import select
def reach(targets):
    waiting = {}
    for name, family, address in targets:
        s = socket.socket(family)
        s.setblocking(False)
        code = s.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            print(f'{name}=no', flush=True)
            continue
        waiting[s] = name
    deadline = time.monotonic() + 1.5
    while waiting and (left := deadline - time.monotonic()) > 0:
        for s in select.select([], waiting, [], left)[1]:
            reached = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            print(f'{waiting.pop(s)}={\"yes\" if reached else \"no\"}', flush=True)
    for name in waiting.values():
        print(f'{name}=no', flush=True)
";

/// A network namespace behind a cable to the host, with a server in it.
struct Internet {
    name: String,
    cable: String,
    server: Child,
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("the program ip is installed");
    assert!(status.success(), "ip {arguments}");
}

impl Internet {
    fn new() -> Self {
        // The kernel takes its time to remove an interface, so names are used once.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gmtest{}.{number}", std::process::id());
        let cable = format!("gmt{}.{number}", std::process::id());
        ip("link set lo up");
        ip(&format!("addr replace {ELSEWHERE}/32 dev lo"));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {cable} type veth peer name eth9 netns {name}"));
        for command in [
            format!("addr add {HOST}/24 dev {cable}"),
            "addr add 10.254.254.1/24 dev ".to_owned() + &cable,
        ] {
            ip(&command);
        }
        ip(&format!("link set {cable} up"));
        for address in [format!("{SERVER}/24"), format!("{PRIVATE}/24"), format!("{METADATA}/32")] {
            ip(&format!("-n {name} addr add {address} dev eth9"));
        }
        ip(&format!("-n {name} link set eth9 up"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("route add {METADATA} dev {cable}"));
        let mut server = Command::new("ip")
            .args(["netns", "exec", &name, "python3", "-c", SERVER_CODE])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { name, cable, server }
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("ip").args(["link", "delete", &self.cable]).status();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn spawn(world: &World, egress: Egress) -> Sandboxes {
    let state_dir = world.folder("network");
    let resolvers = vec![PRIVATE.parse().unwrap()];
    let network = Network { egress, resolvers, ..Network::default() };
    let config = Config { state_dir, network, ..Config::default() };
    let sandboxes = Sandboxes::spawn(&config).unwrap();
    assert_eq!(sandboxes.no_network(), None);
    sandboxes
}

fn start(world: &World, sandboxes: &Sandboxes, code: &str) -> Sandbox {
    let spec = world.python(&format!("{REACH}\n{code}"));
    world.runtime.block_on(sandboxes.start(spec)).unwrap()
}

/// Everything that listens and must not be reached, beside the server that may be.
fn targets(host_port: u16) -> String {
    format!(
        "
v4, v6 = socket.AF_INET, socket.AF_INET6
reach([
    ('server', v4, ('{SERVER}', {PORT})),
    ('private', v4, ('{PRIVATE}', {PORT})),
    ('metadata', v4, ('{METADATA}', {PORT})),
    ('runtime_api', v4, ('169.254.100.1', {host_port})),
    ('host', v4, ('{HOST}', {host_port})),
    ('host_elsewhere', v4, ('{ELSEWHERE}', {host_port})),
    ('host_loopback', v4, ('127.0.0.1', {host_port})),
    ('host_zero', v4, ('0.0.0.0', {host_port})),
    ('pool', v4, ('10.187.0.1', {host_port})),
    ('host_v6', v6, ('::1', {host_port})),
    ('mapped', v6, ('::ffff:{HOST}', {host_port})),
    ('link_local_v6', v6, ('fe80::1', {host_port}, 0, socket.if_nametoindex('eth0'))),
    ('multicast_v6', v6, ('ff02::1', {host_port}, 0, socket.if_nametoindex('eth0'))),
])
names = socket.socket(type=socket.SOCK_DGRAM)
names.settimeout(2)
names.sendto(b'question', ('{PRIVATE}', 53))
attempt('name', names.recv, 10)
print('resolv_conf=' + read('/etc/resolv.conf').decode().strip())
print('interfaces=' + ','.join(sorted(name for _, name in socket.if_nameindex())))
print('addresses_v6=' + str(read('/proc/net/if_inet6').decode().count('\\n')))
"
    )
}

const NEVER: &[&str] = &[
    "metadata",
    "runtime_api",
    "host",
    "host_elsewhere",
    "host_loopback",
    "host_zero",
    "pool",
    "host_v6",
    "mapped",
    "link_local_v6",
    "multicast_v6",
];

fn check_reach(world: &World, egress: Egress, private: &str) {
    let _internet = Internet::new();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let listener_v6 = TcpListener::bind("[::]:0");
    let sandboxes = spawn(world, egress);
    let sandbox = start(world, &sandboxes, &targets(listener.local_addr().unwrap().port()));
    let outcome = world.finish(&sandbox);
    assert_eq!(outcome.exit.status, ExitStatus::Code(0), "{outcome:?}");
    outcome.expect(&[
        ("server", &["yes"]),
        ("private", &[private]),
        ("name", &["ok"]),
        ("resolv_conf", &["nameserver 10.254.254.2"]),
        ("interfaces", &["eth0,lo"]),
        // The loopback's.
        ("addresses_v6", &["1", "0"]),
    ]);
    for name in NEVER {
        outcome.expect(&[(name, &["no"])]);
    }
    // The server saw the host and not the sandbox.
    let code = format!(
        "print('seen=' + socket.create_connection(('{SERVER}', {PORT})).makefile().readline().strip())"
    );
    world.finish(&start(world, &sandboxes, &code)).expect(&[("seen", &[HOST])]);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody reached the host");
    drop(listener_v6);
    world.runtime.block_on(sandboxes.shutdown());
}

fn reaches_the_internet_alone(world: &World) {
    check_reach(world, Egress::Internet, "no");
}

fn all_reaches_private_networks(world: &World) {
    check_reach(world, Egress::All, "yes");
}

/// Two sandboxes do not reach one another, of one server or of two; nor does the host reach into one.
fn parts_sandboxes(world: &World) {
    let sandboxes = spawn(world, Egress::All);
    let another = spawn(world, Egress::All);
    // A datagram is sent to nowhere to learn the own address.
    let listen = format!(
        "
s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('{SERVER}', 9))
server = socket.create_server(('0.0.0.0', 8000))
os.write(3, socket.inet_aton(s.getsockname()[0]))
while True: server.accept()[0].sendall(b'reached')
"
    );
    let listening = start(world, &sandboxes, &listen);
    let address: [u8; 4] = read_some(&listening, 4).try_into().unwrap();
    let address = Ipv4Addr::from(address);
    assert_eq!(address.octets()[..2], [10, 187]);
    for from in [&sandboxes, &another] {
        let code = format!("reach([('other', socket.AF_INET, ('{address}', 8000))])");
        world.finish(&start(world, from, &code)).expect(&[("other", &["no"])]);
    }
    let to = (address, 8000).into();
    assert!(TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_err());
    drop(listening);
    world.runtime.block_on(sandboxes.shutdown());
    world.runtime.block_on(another.shutdown());
}

/// What there is on the host of servers with this pool: tables of rules and interfaces.
fn traces(pool: Pool) -> Vec<String> {
    let nft = |arguments: &[&str]| {
        let listed = Command::new("nft").args(arguments).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    let all = nft(&["list", "tables", "inet"]);
    let tables = all.split_whitespace().filter(|word| word.starts_with("gatemill_"));
    let tables =
        tables.filter(|table| nft(&["list", "table", "inet", table]).contains(&pool.to_string()));
    let prefix = format!("gm{:06x}", u32::from(pool.first()) >> 8);
    // `/sys` shows the interfaces of whoever mounted it.
    let listed = std::fs::read_to_string("/proc/net/dev").unwrap();
    let interfaces =
        listed.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    tables.map(str::to_owned).chain(interfaces.filter(|name| name.starts_with(&prefix))).collect()
}

/// A clean end leaves nothing, and what a kill leaves is gone with the next start.
fn leaves_nothing(world: &World) {
    // Of this process, since other servers of this machine come and go.
    let number = 0x0A80_0000 | (std::process::id() & 0x3FFF) << 8;
    let pool = Pool::new(Ipv4Addr::from(number), 24).unwrap();
    let spawn = || {
        let network = Network { egress: Egress::All, pool, ..Network::default() };
        let config = Config { state_dir: world.folder("network"), network, ..Config::default() };
        let sandboxes = Sandboxes::spawn(&config).unwrap();
        assert_eq!(sandboxes.no_network(), None);
        sandboxes
    };
    let sandboxes = spawn();
    let sleeper = start(world, &sandboxes, "time.sleep(600)");
    assert!(traces(pool).len() >= 2, "{:?}", traces(pool));
    world.runtime.block_on(sandboxes.shutdown());
    assert_eq!(traces(pool), [""; 0]);
    assert_eq!(world.wait(&sleeper).status, ExitStatus::Signal(9));

    let before = crate::world::sandboxds(std::process::id());
    let sandboxes = spawn();
    let mut now = crate::world::sandboxds(std::process::id()).into_iter();
    let killed = now.find(|pid| !before.contains(pid)).unwrap();
    let sleeper = start(world, &sandboxes, "time.sleep(600)");
    let pid = rustix::process::Pid::from_raw(killed.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(world.wait(&sleeper).status, ExitStatus::Signal(9));
    // The next one has a network as well, and nothing of the last one's.
    let spec = world.python(
        "print('interfaces=' + ','.join(sorted(name for _, name in socket.if_nameindex())))",
    );
    let next = world.runtime.block_on(sandboxes.start(spec)).unwrap();
    world.finish(&next).expect(&[("interfaces", &["eth0,lo"])]);
    let tables = traces(pool).into_iter().filter(|trace| trace.starts_with("gatemill_")).count();
    assert_eq!(tables, 1, "{:?}", traces(pool));
    world.runtime.block_on(sandboxes.shutdown());
    assert_eq!(traces(pool), [""; 0]);
}

/// A pool that the host uses is refused with a sentence, and programs reach nothing then.
fn pool_must_be_free(world: &World) {
    let _internet = Internet::new();
    let pool: Pool = "10.254.0.0/16".parse().unwrap();
    let network = Network { egress: Egress::All, pool, ..Network::default() };
    let config = Config { state_dir: world.folder("network"), network, ..Config::default() };
    let sandboxes = Sandboxes::spawn(&config).unwrap();
    let reason = sandboxes.no_network().expect("the pool overlaps").to_owned();
    assert!(reason.contains("10.254.0.0/16"), "{reason}");
    let code = "print('interfaces=' + ','.join(name for _, name in socket.if_nameindex()))";
    world.finish(&start(world, &sandboxes, code)).expect(&[("interfaces", &["lo"])]);
    world.runtime.block_on(sandboxes.shutdown());
}

/// The host's table of connections is shared by all: one sandbox gets a part of it.
fn bounds_connections(world: &World) {
    let _internet = Internet::new();
    let sandboxes = spawn(world, Egress::All);
    let code = format!(
        "
made = 0
for port in range(3000):
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.bind(('0.0.0.0', 20000 + port))
    s.sendto(b'x', ('{SERVER}', 53))
    s.settimeout(0.2)
    try:
        s.recv(10)
        made += 1
    except TimeoutError:
        break
    s.close()
print(f'made={{made}}')
"
    );
    let sandbox = start(world, &sandboxes, &code);
    let made = world.finish(&sandbox).number("made");
    assert!((512..=1024).contains(&made), "{made} connections");
    world.runtime.block_on(sandboxes.shutdown());
}
