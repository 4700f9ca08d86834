//! A child process that never outlives its test.
//!
//! Dropping a [`Process`] kills it. If the test process itself is killed, or ends while a `static` holds a `Process`,
//! its leash does: a small shell that waits for the end of a pipe which only the test process holds open.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::eventually;

/// Reads one line and is done ("the process is gone"), or finds the pipe closed and kills what is left, children
/// included. `$1` is the process and its group, `$2` a folder to remove with it, or empty.
const LEASH: &str = r#"read -r line && exit 0
kill -9 -"$1" 2>/dev/null
[ -z "$2" ] || { sleep 1; rm -rf -- "$2"; }"#;

/// A running or ended child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Set once the process was waited for: its id may belong to another process from then on.
    ended: Option<ExitStatus>,
    leash: Child,
}

impl Process {
    /// Starts a command. `folder` is removed by the leash if the test process dies; otherwise its owner removes it.
    pub fn spawn(name: &str, command: &mut Command, folder: Option<&Path>) -> Self {
        // A group of its own: an interrupt typed at the terminal reaches the test process alone, which then cleans up.
        let child = command.process_group(0).spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let leash = Command::new("sh")
            .args(["-c", LEASH, "leash", &child.id().to_string()])
            .arg(folder.unwrap_or_else(|| Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh should start");
        Self { name: name.to_owned(), child, ended: None, leash }
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives the standard streams of the child that were piped.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns how the process ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.ended = self.child.try_wait().expect("a child can be waited for");
        self.ended
    }

    /// Ends the process with SIGKILL and returns when it is gone.
    pub fn kill9(&mut self) {
        // Fails only when it has ended already, which is as good.
        let _ = self.child.kill();
        self.ended = Some(self.child.wait().expect("a killed child can be waited for"));
    }

    /// Asks the process to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks the process to end as Ctrl-C does (SIGINT).
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Tells the process that its terminal has closed (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops the process where it is (SIGSTOP): its connections stay open and silent. Returns when none of its threads
    /// runs any more, which the signal alone does not say.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        while self.threads().any(|state| !matches!(state, 'T' | 'Z')) {
            std::thread::yield_now();
        }
    }

    /// Returns the state of each thread (proc(5), `stat`).
    fn threads(&self) -> impl Iterator<Item = char> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).into_iter().flatten().flatten();
        // The name of a thread is in parentheses and may hold anything; a thread that has ended has no file any more.
        tasks.filter_map(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
            stat.rsplit_once(") ")?.1.chars().next()
        })
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until the process has ended; panics past the deadline.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(deadline, &what, async || self.exit_status().ok_or("it still runs")).await
    }

    /// Returns the resident memory in bytes (`VmRSS` of proc(5)), or `None` when the process has ended.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// Leaves it no more open files than it has now, or gives it as many as it may have.
    pub fn refuse_files(&self, refuse: bool) {
        let open =
            || std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("a running process has files").count();
        // The child has inherited it.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let current = if refuse { Some(open() as u64) } else { maximum };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, Rlimit { current, maximum })
            .expect("a child's limit can be set");
    }

    fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "{} has ended and takes no {signal:?}", self.name);
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|e| panic!("cannot send {signal:?} to {}: {e}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if let Some(mut pipe) = self.leash.stdin.take() {
            let _ = std::io::Write::write_all(&mut pipe, b"gone\n");
        }
        let _ = self.leash.wait();
    }
}
