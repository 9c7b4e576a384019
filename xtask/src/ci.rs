//! `cargo xtask ci`: everything that CI runs, in the order in which a fault shows soonest.
//!
//! It sets up what it needs on a bare Debian machine with Rust: missing programs by apt (as root), the clients of the
//! end-to-end tests in `target/ci`. What stands there already is used again; nothing depends on its being there.
//! `cargo xtask ci STEP…` runs single steps.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{Result, licences, members};

struct Step {
    name: &'static str,
    run: fn(&Ci) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "programs", run: Ci::programs },
    Step { name: "format", run: |ci| ci.cargo(&["fmt", "--all", "--check"]) },
    Step { name: "tidy", run: |ci| ci.cargo(&["xtask", "tidy"]) },
    Step { name: "licences", run: |ci| licences::check(&ci.repository) },
    Step { name: "codegen", run: |ci| ci.cargo(&["xtask", "codegen", "--check"]) },
    Step {
        name: "clippy",
        run: |ci| ci.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "clients", run: Ci::clients },
    Step { name: "tests", run: Ci::tests },
    Step { name: "docs", run: Ci::docs },
    Step { name: "binary", run: |ci| ci.cargo(&["test", "--workspace", "--no-run", "--quiet"]) },
    Step { name: "compatibility", run: Ci::compatibility },
    Step { name: "members", run: Ci::members },
    Step { name: "end-to-end", run: Ci::end_to_end },
];

/// How many files of end-to-end tests run at one time.
const LANES: &str = "2";

/// What a program that is missing is called in Debian.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("cc", &["build-essential"]),
    ("chromium", &["chromium"]),
    ("cmake", &["cmake"]),
    ("curl", &["curl"]),
    ("docker-registry", &["docker-registry"]),
    ("go", &["golang-go"]),
    ("javac", &["openjdk-17-jdk-headless"]),
    ("mcs", &["mono-mcs"]),
    ("mvn", &["maven"]),
    ("ip", &["iproute2"]),
    ("nft", &["nftables"]),
    ("node", &["nodejs"]),
    ("npm", &["npm"]),
    ("python3", &["python3", "python3-pip", "python3-venv"]),
    ("ruby", &["ruby"]),
    ("xz", &["xz-utils"]),
];

/// Runs the named steps, or all of them.
pub(crate) fn run(repository: &Path, arguments: &[String]) -> Result<()> {
    if let Some(unknown) =
        arguments.iter().find(|name| !STEPS.iter().any(|step| step.name == **name))
    {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("no step `{unknown}`; there are {}", names.join(", ")).into());
    }
    let ci = Ci { repository: repository.to_path_buf() };
    let mut times = Vec::new();
    for step in STEPS
        .iter()
        .filter(|step| arguments.is_empty() || arguments.iter().any(|name| name == step.name))
    {
        println!("\n=== {} ===", step.name);
        let start = Instant::now();
        (step.run)(&ci).map_err(|error| format!("{}: {error}", step.name))?;
        times.push((step.name, start.elapsed()));
    }
    println!("\n=== all steps passed ===");
    for (name, time) in &times {
        println!("{name:<14} {:>6.1} s", time.as_secs_f64());
    }
    println!(
        "{:<14} {:>6.1} s",
        "together",
        times.iter().map(|(_, time)| *time).sum::<Duration>().as_secs_f64()
    );
    Ok(())
}

struct Ci {
    repository: PathBuf,
}

impl Ci {
    fn cargo(&self, arguments: &[&str]) -> Result<()> {
        self.command("cargo", arguments)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Result<()> {
        finish(Command::new(program).args(arguments).current_dir(&self.repository))
    }

    fn target(&self) -> PathBuf {
        crate::target(&self.repository)
    }

    /// The program as the tests build it, with checks for overflows. Optimised it takes five minutes more, and an
    /// end-to-end test no less time; `cargo xtask bench` runs that one.
    fn binary(&self) -> PathBuf {
        self.target().join("debug/gatemill")
    }

    /// Makes sure that the programs which the steps call are there.
    fn programs(&self) -> Result<()> {
        let mut packages: Vec<&str> = PROGRAMS
            .iter()
            .filter(|(program, _)| !on_path(program))
            .flat_map(|(_, packages)| packages.iter().copied())
            .collect();
        if on_path("python3") && !has_modules("venv, ensurepip") {
            packages.push("python3-venv");
        }
        if on_path("python3") && !has_modules("pip") {
            packages.push("python3-pip");
        }
        if aws_cli_2().is_none() {
            packages.push("awscli");
        }
        if packages.is_empty() {
            println!("all there");
            return Ok(());
        }
        let list = packages.join(" ");
        if !on_path("apt-get") || !is_root() {
            return Err(format!(
                "missing programs; install them first, on Debian: apt-get install {list}"
            )
            .into());
        }
        println!("installing {list}");
        let apt = |arguments: &[&str]| {
            finish(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
        };
        apt(&["update", "-qq"])?;
        apt(&[&["install", "-y", "-qq", "--no-install-recommends"], packages.as_slice()].concat())
    }

    /// With the .NET that comes with the clients, where the machine has none.
    fn tests(&self) -> Result<()> {
        let mut tests = Command::new("cargo");
        tests.args(["test", "--workspace"]).current_dir(&self.repository);
        if let Some(dotnet) = crate::dotnet::directory(&self.target()) {
            tests.env("GATEMILL_TEST_RUNTIMES", dotnet);
        }
        finish(&mut tests)
    }

    fn docs(&self) -> Result<()> {
        let arguments = ["doc", "--workspace", "--no-deps", "--quiet"];
        finish(
            Command::new("cargo")
                .args(arguments)
                .env("RUSTDOCFLAGS", "-D warnings")
                .current_dir(&self.repository),
        )
    }

    /// `docs/compatibility.md` is what the binary says of itself.
    fn compatibility(&self) -> Result<()> {
        let said =
            Command::new(self.binary()).args(["operations", "--format", "markdown"]).output()?;
        let written = fs::read(self.repository.join("docs/compatibility.md"))?;
        if said.stdout != written {
            return Err("docs/compatibility.md is out of date; write it anew: \
                        target/debug/gatemill operations --format markdown > docs/compatibility.md"
                .into());
        }
        Ok(())
    }

    /// Every input member of every built operation is read, or listed as not honoured.
    fn members(&self) -> Result<()> {
        members::run(&self.repository, &[self.binary().to_string_lossy().into_owned()])
    }

    /// The AWS clients of the end-to-end tests, in `target/ci`.
    fn clients(&self) -> Result<()> {
        let home = self.target().join("ci");
        fs::create_dir_all(home.join("node"))?;
        self.fresh(&home, "e2e/requirements.txt", "venv", |python| {
            finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(python))?;
            let pip = python.join("bin/pip");
            let wanted = self.repository.join("e2e/requirements.txt");
            finish(
                Command::new(pip)
                    .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                    .arg(wanted),
            )
        })?;
        self.fresh(&home, "e2e/package.json", "node", |node| {
            fs::copy(self.repository.join("e2e/package.json"), node.join("package.json"))?;
            let arguments =
                ["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
            finish(Command::new("npm").args(arguments).current_dir(node))
        })
    }

    /// Runs `make` unless what it made from the same list is still there.
    fn fresh(
        &self,
        home: &Path,
        list: &str,
        name: &str,
        make: impl Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        let wanted = fs::read_to_string(self.repository.join(list))?;
        let stamp = home.join(format!("{name}.made-from"));
        if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
            return Ok(());
        }
        make(&home.join(name))?;
        Ok(fs::write(stamp, wanted)?)
    }

    /// In two lanes: each file of tests has a server of its own, and most of its time it waits for something.
    fn end_to_end(&self) -> Result<()> {
        let home = self.target().join("ci");
        let aws = aws_cli_2().ok_or("the AWS CLI, version 2, is missing")?;
        let mut pytest = Command::new(home.join("venv/bin/python"));
        pytest
            .args(["-B", "-m", "pytest", "--numprocesses", LANES, "--dist", "loadfile"])
            // As `conftest.py` orders them, and not by the number of their tests.
            .arg("--no-loadscope-reorder")
            .current_dir(self.repository.join("e2e"))
            .env("GATEMILL_BINARY", self.binary())
            .env("GATEMILL_AWS_CLI", aws)
            .env("GATEMILL_NODE_MODULES", home.join("node/node_modules"));
        finish(&mut pytest)
    }
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} ended with {status}", command.get_program().display()).into())
    }
}

/// Whether a shell would find the program. It is not asked for its version: not all know the same word for that.
fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

fn has_modules(names: &str) -> bool {
    Command::new("python3")
        .args(["-c", &format!("import {names}")])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The AWS CLI of version 2: `logs tail` came with it.
fn aws_cli_2() -> Option<&'static str> {
    ["aws", "/usr/bin/aws", "/usr/local/bin/aws"].into_iter().find(|program| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| output.stdout.starts_with(b"aws-cli/2"))
    })
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
