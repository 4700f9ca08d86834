//! A disk that is slow, or full, for one gateway.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use crate::{Folder, GatewayBuilder};

/// Never dropped, as no static is: a few kilobytes in the folder for temporary files.
static SHIM: OnceLock<(Folder, PathBuf)> = OnceLock::new();

/// See the module. A shared object stands before the C library in the gateway's process.
#[derive(Debug)]
pub struct Disk(Folder);

impl Disk {
    /// Makes a disk that is as it is, and counts syncs.
    pub fn new() -> Self {
        Self(Folder::new("disk"))
    }

    /// Runs a gateway on this disk; each sync takes so much longer.
    pub fn under(&self, gateway: GatewayBuilder, sync_micros: u64) -> GatewayBuilder {
        let (preload, micros) = (shim(), sync_micros.to_string());
        let at = |name: &str| self.0.path().join(name);
        gateway
            .env("LD_PRELOAD", preload)
            .env("DISK_SYNC_MICROS", micros)
            .env("DISK_SYNCS", at("syncs"))
            .env("DISK_FULL", at("full"))
    }

    /// Returns how often the gateway synced a file so far.
    pub fn syncs(&self) -> u64 {
        std::fs::metadata(self.0.path().join("syncs")).map_or(0, |file| file.len())
    }

    /// From now on nothing can be written; or it can again.
    pub fn set_full(&self, full: bool) {
        let file = self.0.path().join("full");
        if full { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the path of the shared object, which the first caller builds.
pub fn shim() -> PathBuf {
    let (_, path) = SHIM.get_or_init(|| {
        let folder = Folder::new("shim");
        let source = folder.write("shim.c", include_str!("disk/shim.c"));
        let object = folder.path().join("shim.so");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&object).arg(source).arg("-ldl").status();
        assert!(built.expect("there should be a C compiler: tests/install-needs cc").success());
        (folder, object)
    });
    path.clone()
}
