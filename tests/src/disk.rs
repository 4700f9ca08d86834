//! A disk that is slow, or full, for one gateway; and other means of a machine that can be short or wrong.

use std::{
    fs::DirEntry,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

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
            .env("NO_THREADS", at("no-threads"))
            .env("CLOCK_AHEAD", at("ahead"))
    }

    /// Runs a gateway with its data on this disk, in a folder that [`Self::fill`] can fill.
    pub fn holding(&self, gateway: GatewayBuilder) -> GatewayBuilder {
        let data = self.data();
        self.under(gateway.flag("--data-dir", data.as_os_str()), 0).env("DISK_FOLDER", data)
    }

    /// Returns the folder of [`Self::holding`].
    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// Returns how often the gateway synced a file so far.
    pub fn syncs(&self) -> u64 {
        std::fs::metadata(self.0.path().join("syncs")).map_or(0, |file| file.len())
    }

    /// From now on nothing can be written; or it can again.
    pub fn set_full(&self, full: bool) {
        self.set("full", full.then_some(""));
    }

    /// From now on as much fits into [`Self::data`] as is there now: what the gateway frees, it can fill again.
    pub fn fill(&self) {
        self.set("full", Some(&used(&self.data()).to_string()));
    }

    /// From now on no thread can be started; or it can again.
    pub fn refuse_threads(&self, refuse: bool) {
        self.set("no-threads", refuse.then_some(""));
    }

    /// Sets the wall clock of the gateway, against the true one.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.set("ahead", Some(&seconds.to_string()));
    }

    /// Writes a file in one step, or removes it.
    fn set(&self, name: &str, text: Option<&str>) {
        let file = self.0.path().join(name);
        match text {
            Some(text) => {
                let new = self.0.write("new", text);
                std::fs::rename(new, file).unwrap();
            }
            None => std::fs::remove_file(file).unwrap(),
        }
    }
}

/// Returns what the files in a folder take of the disk, in bytes.
fn used(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    // A file may be gone by now.
    let of_entry = |entry: DirEntry| match entry.metadata() {
        Ok(file) if file.is_dir() => used(&entry.path()),
        Ok(file) => file.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(of_entry).sum()
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
