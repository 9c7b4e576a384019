//! The functions of a cold start that have to be compiled: Java and C# for our clients of them, Go and Rust with AWS's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Bench, tempfile};
use crate::Result;

/// A function to call.
pub(super) struct Compiled {
    /// What it is created with, or the language, of which this host has a runtime.
    pub(super) runtime: &'static str,
    pub(super) handler: &'static str,
    pub(super) file: PathBuf,
    pub(super) event: &'static str,
}

impl Bench {
    pub(super) fn java(&self) -> Result<Compiled> {
        let directory = tempfile("java")?;
        let source = self.handlers().join("App.java");
        let mut compile = Command::new("javac");
        compile.arg("--release=17").arg("-d").arg(&directory).arg(source);
        succeed(&mut compile)?;
        let file = directory.join("App.class");
        Ok(Compiled { runtime: "java", handler: "App::handler", file, event: PROXY })
    }

    pub(super) fn dotnet(&self) -> Result<Compiled> {
        let home = dotnet(&self.release).ok_or("no .NET: cargo xtask ci clients installs one")?;
        let frameworks = fs::read_dir(home.join("shared/Microsoft.NETCore.App"))?.flatten();
        let framework = frameworks.map(|one| one.path()).next().ok_or("no library of .NET")?;
        let file = tempfile("dotnet")?.join("App.dll");
        let mut compile = Command::new("mcs");
        compile.args(["-nostdlib", "-noconfig", "-target:library"]);
        compile.arg(format!("-out:{}", file.display())).arg(self.handlers().join("App.cs"));
        for name in ["netstandard.dll", "System.Runtime.dll", "System.Private.CoreLib.dll"] {
            compile.arg(format!("-r:{}", framework.join(name).display()));
        }
        succeed(&mut compile)?;
        Ok(Compiled { runtime: "dotnet8", handler: "App::App::Handle", file, event: PROXY })
    }

    pub(super) fn go(&self) -> Result<Compiled> {
        let file = tempfile("go")?.join("bootstrap");
        let mut compile = Command::new("go");
        compile.args(["build", "-o"]).arg(&file).arg(".").env("CGO_ENABLED", "0");
        succeed(compile.current_dir(self.repository.join("e2e/go")))?;
        Ok(Compiled { runtime: "provided.al2023", handler: "bootstrap", file, event: COUNT })
    }

    pub(super) fn rust(&self) -> Result<Compiled> {
        let target = self.release.with_file_name("ci").join("subjects/rust-target");
        let mut compile = Command::new("cargo");
        compile.args(["build", "--release", "--quiet", "--locked", "--target-dir"]).arg(&target);
        succeed(compile.current_dir(self.repository.join("e2e/functions/rust")))?;
        let file = target.join("release/bootstrap");
        Ok(Compiled { runtime: "provided.al2023", handler: "bootstrap", file, event: COUNT })
    }
}

/// The .NET that the end-to-end tests installed.
pub(super) fn dotnet(release: &Path) -> Option<PathBuf> {
    crate::dotnet::directory(release.parent()?)
}

const PROXY: &str = r#"{"rawPath": "/x"}"#;
const COUNT: &str = r#"{"do": "count"}"#;

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    let program = command.get_program().display().to_string();
    if status.success() { Ok(()) } else { Err(format!("{program} failed").into()) }
}
