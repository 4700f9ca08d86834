//! The built program.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::stub::Stub;

/// How the program ended, and its report.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) report: Value,
    pub(crate) output: Output,
}

impl Ended {
    /// Returns a field of the first step.
    pub(crate) fn step(&self, field: &str) -> u64 {
        let step = &self.report["steps"][0];
        step[field].as_u64().unwrap_or_else(|| panic!("no {field} in {step}\n{}", self.stderr()))
    }

    /// Returns standard error.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// Runs the program with these flags, separated by spaces.
pub(crate) fn load(flags: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(flags.split_whitespace()).stdin(Stdio::null());
    command.output().expect("the program can be run")
}

/// Runs the program against a server.
pub(crate) fn load_on(stub: &Stub, flags: &str) -> Ended {
    load_at(stub.address(), flags)
}

/// Runs the program against what listens at an address.
pub(crate) fn load_at(address: SocketAddr, flags: &str) -> Ended {
    let output = load(&format!("--address {address} --json - {flags}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(stdout.trim()).unwrap_or_else(|error| {
        panic!("no report ({error}) of {flags}: {stdout}\n{}", String::from_utf8_lossy(&output.stderr))
    });
    Ended { code: output.status.code(), report, output }
}

/// Returns a path that no other test has, for a file that is gone with the machine's temporary files.
pub(crate) fn path(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("load-test-{}-{number}-{name}", std::process::id()))
}
