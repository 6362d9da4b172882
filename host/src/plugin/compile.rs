//! Compiling, in a process of its own: compiling a hostile component can take minutes and gigabytes, and the compiler
//! is the largest program that reads bytes from outside.

use crate::plugin::artefact::Artefact;
use crate::plugin::text::clean;
use crate::plugin::{compiler, engine};
use bytes::Bytes;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

/// Bytes of machine code that one component may become. A Rust component grows five times, a JavaScript one three.
pub(super) const ARTEFACT_BYTES_MAX: usize = 256 << 20;
/// Bytes of what the compiler says besides.
const WORDS_BYTES_MAX: usize = 4_096;

/// Where components are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, with the bounds on structure alone: for tests and tools that have no binary to start.
    InProcess,
    /// In a child process: this program, which has to be `omnivisor` of the same version, with `plugin-compiler`.
    Child {
        /// The program.
        program: PathBuf,
    },
}

/// How far compiling one component may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CompileBounds {
    pub component_bytes_max: usize,
    pub timeout: Duration,
    pub memory_bytes: usize,
}

#[cfg(test)]
impl CompileBounds {
    pub(super) fn for_tests() -> Self {
        Self { component_bytes_max: 1 << 20, timeout: Duration::from_secs(20), memory_bytes: 1 << 30 }
    }
}

/// Why there is no artefact.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileFailure {
    /// The compiler does not take the component.
    #[error("{0}")]
    Refused(String),
    #[error("it took longer than {0:?}")]
    TimedOut(Duration),
    #[error("it took more than {0} bytes of memory")]
    OutOfMemory(usize),
    #[error("it became more than {0} bytes of code")]
    TooMuchCode(usize),
    /// The process ended in another way.
    #[error("the compiler ended with {0}")]
    Died(String),
    /// There is no process.
    #[error("the compiler cannot be started")]
    Unavailable(#[source] io::Error),
}

impl Compiler {
    /// Compiles a component for every engine of this version and these settings.
    ///
    /// # Errors
    /// [`CompileFailure`]. In process only [`CompileFailure::Refused`].
    ///
    /// # Cancel safety
    /// Dropping the future kills the child. A compilation in this process runs on by itself to its end.
    pub(super) async fn compile(&self, bounds: &CompileBounds, component: Bytes) -> Result<Artefact, CompileFailure> {
        match self {
            Self::InProcess => in_process(component).await,
            Self::Child { program } => in_child(program, bounds, &component).await,
        }
    }
}

async fn in_process(component: Bytes) -> Result<Artefact, CompileFailure> {
    let compiled = tokio::task::spawn_blocking(move || {
        let engine = engine::for_compiling()?;
        engine.precompile_component(&component)
    });
    match compiled.await {
        Ok(Ok(code)) => Ok(Artefact::compiled(code)),
        Ok(Err(error)) => Err(CompileFailure::Refused(clean(&format!("{error:#}"), WORDS_BYTES_MAX))),
        Err(error) => Err(CompileFailure::Died(if error.is_panic() { "a panic" } else { "nothing" }.to_owned())),
    }
}

async fn in_child(program: &Path, bounds: &CompileBounds, component: &[u8]) -> Result<Artefact, CompileFailure> {
    let mut child = start(program, bounds).map_err(CompileFailure::Unavailable)?;
    let result = match tokio::time::timeout(bounds.timeout, run(&mut child, bounds, component)).await {
        Ok(result) => result,
        Err(_) => Err(CompileFailure::TimedOut(bounds.timeout)),
    };
    if result.is_err() {
        // Also waits for it, so that no zombie stays; one that has ended already is not an error.
        drop(child.kill().await);
    }
    result
}

fn start(program: &Path, bounds: &CompileBounds) -> io::Result<Child> {
    // Processor time is counted in whole seconds, over all threads; the clock above is the finer bound.
    let cpu_seconds = bounds.timeout.as_secs() + 1;
    Command::new(program)
        .arg("plugin-compiler")
        .args(["--memory-bytes", &bounds.memory_bytes.to_string()])
        .args(["--cpu-seconds", &cpu_seconds.to_string()])
        .args(["--component-bytes-max", &bounds.component_bytes_max.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

async fn run(child: &mut Child, bounds: &CompileBounds, component: &[u8]) -> Result<Artefact, CompileFailure> {
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(CompileFailure::Unavailable(io::Error::other("it has no standard streams")));
    };
    let code = async {
        let code = read_up_to(stdout, ARTEFACT_BYTES_MAX).await.map_err(CompileFailure::Unavailable)?;
        code.ok_or(CompileFailure::TooMuchCode(ARTEFACT_BYTES_MAX))
    };
    let words = async {
        let mut words = Vec::new();
        let mut stderr = stderr;
        (&mut stderr)
            .take(WORDS_BYTES_MAX as u64)
            .read_to_end(&mut words)
            .await
            .map_err(CompileFailure::Unavailable)?;
        // Whatever else it says is read too, or it would wait for us.
        tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.map_err(CompileFailure::Unavailable)?;
        Ok(words)
    };
    let fed = async {
        feed(stdin, component).await;
        Ok(())
    };
    let ((), code, words) = tokio::try_join!(fed, code, words)?;
    let status = child.wait().await.map_err(CompileFailure::Unavailable)?;
    if status.success() {
        return Ok(Artefact::compiled(code));
    }
    Err(judge(status, &String::from_utf8_lossy(&words), bounds))
}

/// A child that ends before it has read everything says why by its exit, not by a broken pipe.
async fn feed(mut stdin: ChildStdin, component: &[u8]) {
    if stdin.write_all(component).await.is_ok() {
        drop(stdin.shutdown().await);
    }
}

/// Everything there is, or none when that is more than `max`.
async fn read_up_to(source: impl AsyncRead + Unpin, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    source.take(max as u64 + 1).read_to_end(&mut bytes).await?;
    Ok((bytes.len() <= max).then_some(bytes))
}

/// What the end of a child means. Memory that is refused shows in three ways: the allocator gives up, the engine says
/// so, or a panic does.
fn judge(status: ExitStatus, words: &str, bounds: &CompileBounds) -> CompileFailure {
    const WANT_OF_MEMORY: [&str; 3] = ["memory allocation of", "out of memory", "annot allocate memory"];
    const PROCESSOR_TIME: i32 = rustix::process::Signal::XCPU.as_raw();
    if WANT_OF_MEMORY.iter().any(|sign| words.contains(sign)) {
        return CompileFailure::OutOfMemory(bounds.memory_bytes);
    }
    if status.signal() == Some(PROCESSOR_TIME) {
        return CompileFailure::TimedOut(bounds.timeout);
    }
    if status.code() == Some(compiler::REFUSED.into()) {
        return CompileFailure::Refused(clean(words.trim(), WORDS_BYTES_MAX));
    }
    let words = clean(words.lines().next().unwrap_or_default(), 256);
    CompileFailure::Died(if words.is_empty() { status.to_string() } else { format!("{status}: {words}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::time::Instant;

    const BOUNDS: CompileBounds =
        CompileBounds { component_bytes_max: 1 << 20, timeout: Duration::from_secs(20), memory_bytes: 1 << 30 };

    /// Has a script stand in for the compiler: what is tested is how its end is understood.
    async fn compile_with(script: &str, bounds: &CompileBounds, component: &[u8]) -> Result<Vec<u8>, String> {
        let place = tempfile::tempdir().expect("a folder");
        let program = place.path().join("compiler");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("writable");
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("ours");
        let compiled = Compiler::Child { program }.compile(bounds, Bytes::copy_from_slice(component)).await;
        compiled.map(|artefact| artefact.code().to_vec()).map_err(|failure| failure.to_string())
    }

    #[tokio::test]
    async fn the_child_is_fed_and_what_it_prints_is_the_artefact() {
        let large = vec![b'x'; 300_000];
        assert_eq!(compile_with("cat", &BOUNDS, &large).await, Ok(large));
        let arguments = compile_with("cat >/dev/null; echo \"$@\"; env | grep -c '^HOME='", &BOUNDS, b"x").await;
        let expected = "plugin-compiler --memory-bytes 1073741824 --cpu-seconds 21 --component-bytes-max 1048576\n0\n";
        assert!(arguments == Ok(expected.into()) || arguments.is_err(), "{arguments:?}");
    }

    #[tokio::test]
    async fn each_end_is_told_apart() {
        for (script, expected) in [
            ("echo 'no such type' >&2; exit 65", "no such type"),
            (
                "cat >/dev/null; echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$",
                "more than 1073741824 bytes",
            ),
            ("kill -XCPU $$", "longer than 20s"),
            ("kill -KILL $$", "the compiler ended with signal: 9 (SIGKILL)"),
            ("echo \"thread 'main' panicked\" >&2; exit 101", "exit status: 101: thread 'main' panicked"),
            ("yes | head -c 1000000 >&2; exit 3", "exit status: 3"),
        ] {
            let failure = compile_with(script, &BOUNDS, &vec![0; 100_000]).await.expect_err(script);
            assert!(failure.contains(expected), "{script}: {failure}");
        }
        let gone = Compiler::Child { program: "/nowhere/omnivisor".into() };
        let failure = gone.compile(&BOUNDS, Bytes::new()).await.err().expect("nothing to start");
        assert!(matches!(failure, CompileFailure::Unavailable(_)), "{failure:?}");
    }

    #[tokio::test]
    async fn a_child_that_never_ends_is_killed_and_so_is_one_whose_caller_went_away() {
        let bounds = CompileBounds { timeout: Duration::from_millis(200), ..BOUNDS };
        let place = tempfile::tempdir().expect("a folder");
        let pid = place.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 1000", pid.display());
        let started = Instant::now();
        let failure = compile_with(&script, &bounds, b"").await.expect_err("it sleeps");
        assert!(failure.contains("longer than 200ms") && started.elapsed() < Duration::from_secs(10), "{failure}");
        assert!(is_gone(&pid).await);
        std::fs::remove_file(&pid).expect("it was written");
        let call = compile_with(&script, &BOUNDS, b"");
        assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err(), "its caller did not wait");
        assert!(is_gone(&pid).await);
    }

    /// Whether the process that wrote its number ends.
    async fn is_gone(pid: &Path) -> bool {
        let text = std::fs::read_to_string(pid).expect("it was started");
        let status = format!("/proc/{}/stat", text.trim());
        for _ in 0..200 {
            // A zombie is gone but for its entry, which the runtime takes away.
            let stat = std::fs::read_to_string(&status);
            if stat.map_or(true, |stat| stat.contains(") Z ")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}
