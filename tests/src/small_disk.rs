//! A file system of a few megabytes that a test fills: a tmpfs in a mount namespace of its own,
//! which ends with the processes in it.
//!
//! A test that needs one calls [`alone`] with the name of an ignored test of the same program.
//! That one is then run as a child that may mount, and calls [`SmallDisk::mount`].

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// How a namespace is made: by root, or by one who is root only inside.
const WAYS: [&str; 2] = ["-m", "-Urm"];

/// Where this is set, a machine on which nobody may mount passes without the check.
const UNCHECKED: &str = "WARDLINK_NO_SMALL_DISK";

/// Runs the ignored test `name` of this program where it may mount.
///
/// # Errors
/// The test failed, its output was shown; or nobody may mount here, and it was not said that this
/// is known (`WARDLINK_NO_SMALL_DISK=1`).
pub fn alone(name: &str) -> anyhow::Result<()> {
    let probe = TempDir::new()?;
    let mut why = String::new();
    for way in WAYS {
        let mut mount = Command::new("unshare");
        mount.args([way, "mount", "-t", "tmpfs", "none"]).arg(probe.path());
        match mount.output() {
            Ok(output) if output.status.success() => return run(way, name),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => why = error.to_string(),
        }
    }
    ensure!(
        std::env::var_os(UNCHECKED).is_some(),
        "{name}: no file system can be mounted here ({why}); set {UNCHECKED}=1 to go without"
    );
    println!("{name}: NOT CHECKED, for no file system can be mounted here: {why}");
    Ok(())
}

fn run(way: &str, name: &str) -> anyhow::Result<()> {
    let status = Command::new("unshare")
        .arg(way)
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--ignored", "--nocapture"])
        .status()?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}

/// A mounted file system. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many megabytes. Only in a test that [`alone`] has started.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn mount(megabytes: usize) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("wardlink-small-")?;
        let disk = Self { dir };
        disk.with("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "none"])?;
        Ok(disk)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes all the space that is left, less `spare` bytes.
    ///
    /// # Errors
    /// Of another kind than that there is no space.
    pub fn fill(&self, spare: u64) -> anyhow::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        let mut block = vec![1; 1 << 16];
        while !block.is_empty() {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    block.truncate(block.len() / 2);
                }
                Err(error) => bail!(error),
            }
        }
        let length = file.metadata()?.len();
        Ok(file.set_len(length.saturating_sub(spare))?)
    }

    /// Gives back what [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    /// Lets nobody write any more.
    ///
    /// # Errors
    /// Somebody has a file open for writing.
    pub fn make_read_only(&self) -> anyhow::Result<()> {
        self.with("mount", &["-o", "remount,ro"])
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    fn with(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(program).args(args).arg(self.path()).output();
        let output = output.with_context(|| program.to_owned())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {args:?}: {said}");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is still in use goes with the namespace.
        let _ = self.with("umount", &["--lazy"]);
    }
}
