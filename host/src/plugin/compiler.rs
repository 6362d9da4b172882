//! The child that compiles: `omnivisor plugin-compiler`. Reads a component, writes machine code, knows nothing else.

use crate::plugin::engine;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{self, Read, Write};

/// The exit code with which it says that the component is not accepted, with the reason on standard error.
pub const REFUSED: u8 = 65;

/// What the child may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompilerLimits {
    /// Address space.
    pub memory_bytes: u64,
    /// Processor time.
    pub cpu_seconds: u64,
    /// Bytes of a component.
    pub component_bytes_max: u64,
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// The limits cannot be set, so nothing is compiled.
    #[error("the limits of this process cannot be set: {0}")]
    Limits(#[source] io::Error),
    /// Standard input or output.
    #[error("the component cannot be read or its code not be written: {0}")]
    Stream(#[source] io::Error),
    /// More than the limit.
    #[error("the component has more than {0} bytes")]
    TooLarge(u64),
    /// The engine's words.
    #[error("{0}")]
    Refused(String),
}

/// Lowers the limits of this process for good, then compiles what it reads to what it writes.
///
/// # Errors
/// [`CompilerError`]. Beyond the limits there is no error: the process ends.
pub fn compile_stream(limits: &CompilerLimits, input: impl Read, mut output: impl Write) -> Result<(), CompilerError> {
    restrict(limits).map_err(CompilerError::Limits)?;
    let component = read(input, limits.component_bytes_max)?;
    let refused = |error: wasmtime::Error| CompilerError::Refused(format!("{error:#}"));
    let code = engine::for_compiling().and_then(|engine| engine.precompile_component(&component)).map_err(refused)?;
    output.write_all(&code).and_then(|()| output.flush()).map_err(CompilerError::Stream)
}

fn read(input: impl Read, bytes_max: u64) -> Result<Vec<u8>, CompilerError> {
    let mut component = Vec::new();
    input.take(bytes_max.saturating_add(1)).read_to_end(&mut component).map_err(CompilerError::Stream)?;
    if component.len() as u64 > bytes_max { Err(CompilerError::TooLarge(bytes_max)) } else { Ok(component) }
}

/// No core file either: it would be as large as the memory, and written where somebody reads it.
fn restrict(limits: &CompilerLimits) -> io::Result<()> {
    for (resource, most) in [
        (Resource::As, limits.memory_bytes),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, 16),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The limits themselves would hold for the tests too; `tests/hostile` sets them in a real child.
    #[test]
    fn no_more_is_read_than_a_component_may_have() {
        assert_eq!(read(&b"1234"[..], 4).expect("as much as allowed"), b"1234");
        assert!(matches!(read(&b"12345"[..], 4), Err(CompilerError::TooLarge(4))));
        assert!(matches!(read(io::repeat(0), 1_000), Err(CompilerError::TooLarge(1_000))));
    }
}
