use crate::plugin::{PluginClass, PluginFailure};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a plugin was not taken into service. Each names the plugin, what was expected and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The name could be a path, or is none at all.
    #[error(
        "plugin `{plugin}`: that is not a plugin's name; a name has 1 to 64 characters of `A-Z a-z 0-9 . _ -` and starts \
         with a letter or digit"
    )]
    Name {
        /// The name given, cleaned.
        plugin: String,
    },
    /// There is no such file.
    #[error(
        "plugin `{plugin}`: there is no file `{}`; build the plugins with `make plugins`, or set `directory` in \
         `[plugins]` to where they are", path.display()
    )]
    Missing {
        /// The plugin.
        plugin: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("plugin `{plugin}`: the file `{}` cannot be read; see that it is a file that this user may read", path.display())]
    Unreadable {
        /// The plugin.
        plugin: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is larger than a plugin may be.
    #[error("plugin `{plugin}` is larger than {bytes_max} bytes; build it optimised and without debug information")]
    TooLarge {
        /// The plugin.
        plugin: String,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// Not a component in the binary format.
    #[error("plugin `{plugin}` is {found}, a WebAssembly component in the binary format was expected; {advice}")]
    NotComponent {
        /// The plugin.
        plugin: String,
        /// What it is.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A component, and a broken one.
    #[error("plugin `{plugin}` is damaged or made by a tool of another age: {reason}; build it again")]
    Malformed {
        /// The plugin.
        plugin: String,
        /// What the parser said.
        reason: String,
    },
    /// More of something than is compiled here; compiling it could take minutes.
    #[error("plugin `{plugin}` has more than {max} {what}, which is more than is compiled here; make it smaller")]
    TooComplex {
        /// The plugin.
        plugin: String,
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// It wants what its world does not offer.
    #[error(
        "plugin `{plugin}` imports {}, which is not offered; the world `{}` offers {}, and of WASI 0.2 clocks, random \
         numbers and standard streams: build it without that import",
        quoted(imports), class.world(), quoted(class.imports())
    )]
    ForbiddenImports {
        /// The plugin.
        plugin: String,
        /// What was expected of it.
        class: PluginClass,
        /// All that it imports and is not offered.
        imports: Vec<String>,
    },
    /// Its manifest cannot be read, or is another plugin's.
    #[error(
        "plugin `{plugin}` has a manifest that makes no sense: {reason}; correct its `plugin.toml` and pack it again"
    )]
    Manifest {
        /// The plugin.
        plugin: String,
        /// What is wrong.
        reason: String,
    },
    /// It wants what its operator did not grant, or imports what its manifest does not ask for.
    #[error("plugin `{plugin}` {what}; {advice}")]
    NotGranted {
        /// The plugin.
        plugin: String,
        /// What it wants or imports.
        what: String,
        /// What to do.
        advice: String,
    },
    /// Its manifest asks for a higher limit than its kind has.
    #[error(
        "plugin `{plugin}` asks for `{key} = {wish}`, and its kind has {limit}; grant it with `{key} = {wish}` in \
         `[plugin.{plugin}.limits]`"
    )]
    LimitNotGranted {
        /// The plugin.
        plugin: String,
        /// The limit, as in the configuration.
        key: &'static str,
        /// What the manifest asks for.
        wish: u64,
        /// What plugins of its kind have.
        limit: u64,
    },
    /// A plugin of another class.
    #[error(
        "plugin `{plugin}` is {}, {} was expected; name it under {}, or put the right file in its place",
        found.described(), expected.described(), found.configured_as()
    )]
    WrongWorld {
        /// The plugin.
        plugin: String,
        /// What was expected.
        expected: PluginClass,
        /// What it is.
        found: PluginClass,
    },
    /// It does not export what its world says.
    #[error(
        "plugin `{plugin}` exports {}, {} was expected; build it for the world `{}` of this version",
        if exports.is_empty() { "nothing".to_owned() } else { quoted(exports) },
        quoted(expected.exports()).replace(", ", " or "), expected.world()
    )]
    NoExport {
        /// The plugin.
        plugin: String,
        /// What was expected.
        expected: PluginClass,
        /// All that it exports.
        exports: Vec<String>,
    },
    /// The engine did not compile it.
    #[error("plugin `{plugin}` does not compile: {reason}; build it again with the current tools")]
    Compile {
        /// The plugin.
        plugin: String,
        /// What the engine said.
        reason: String,
    },
    /// Compiling it took too long, and was ended.
    #[error(
        "plugin `{plugin}` took longer than {limit:?} to compile; make it smaller, or raise `compile_timeout_ms` in \
         `[plugins]`"
    )]
    CompileTimedOut {
        /// The plugin.
        plugin: String,
        /// Time allowed.
        limit: Duration,
    },
    /// Compiling it took too much memory, and was ended.
    #[error(
        "plugin `{plugin}` took more than {limit_bytes} bytes of memory to compile; make it smaller, or raise \
         `compile_memory_bytes` in `[plugins]`"
    )]
    CompileOutOfMemory {
        /// The plugin.
        plugin: String,
        /// Bytes allowed.
        limit_bytes: usize,
    },
    /// It became more machine code than is kept of one plugin.
    #[error("plugin `{plugin}` became more than {limit_bytes} bytes of machine code; make it smaller")]
    CompileTooMuchCode {
        /// The plugin.
        plugin: String,
        /// Bytes allowed.
        limit_bytes: usize,
    },
    /// The compiler ended without a result.
    #[error(
        "plugin `{plugin}` was not compiled: the compiler ended with {how}; see that this machine has memory left, then \
         build the plugin again with the current tools"
    )]
    CompilerDied {
        /// The plugin.
        plugin: String,
        /// With which code or signal, and its first words.
        how: String,
    },
    /// There is no process to compile in.
    #[error(
        "plugin `{plugin}` was not compiled: the compiler cannot be run; see that this program is where it was started \
         from and that this user may start processes"
    )]
    CompilerUnavailable {
        /// The plugin.
        plugin: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others were being compiled all the time.
    #[error("plugin `{plugin}` was not compiled: others were for {waited:?}; load fewer at once")]
    CompilerBusy {
        /// The plugin.
        plugin: String,
        /// How long it waited.
        waited: Duration,
    },
    /// Others could place machine code where compiled plugins are kept.
    #[error(
        "compiled plugins cannot be kept in `{}`: {reason}; or set another `cache_directory` in `[plugins]`",
        path.display()
    )]
    CacheDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Its imports or exports have other types than the world's.
    #[error("plugin `{plugin}` does not fit the world `{}`: {reason}; build it against this version's `wit`", class.world())]
    Link {
        /// The plugin.
        plugin: String,
        /// What was expected of it.
        class: PluginClass,
        /// What the linker said.
        reason: String,
    },
    /// Asked what it is, it failed.
    #[error("plugin `{plugin}` could not say what it is; its `describe` has to answer at once and with little work")]
    Describe {
        /// The plugin.
        plugin: String,
        /// How it failed.
        #[source]
        source: PluginFailure,
    },
    /// Asked what it is, it said something that makes no sense.
    #[error("plugin `{plugin}` describes itself wrongly: {reason}")]
    Description {
        /// The plugin.
        plugin: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The file is a component that was rolled back, and there is no other to serve in its place.
    #[error(
        "plugin `{plugin}`: the component {digest} was rolled back, and the one before it is not there any more; put \
         another one in its place"
    )]
    Refused {
        /// The plugin.
        plugin: String,
        /// The component.
        digest: String,
    },
    /// What was swapped before is not known, or cannot be written down.
    #[error("plugin `{plugin}`: its generations cannot be read or written down: {reason}")]
    Record {
        /// The plugin.
        plugin: String,
        /// What the store said.
        reason: String,
    },
    /// There is no engine to run plugins in.
    #[error(
        "no engine for plugins of class `{class}`: {reason}; raise the limits on address space and threads of this process"
    )]
    Engine {
        /// Which.
        class: PluginClass,
        /// What the engine said.
        reason: String,
    },
}

impl LoadError {
    /// The plugin's name; none when it is not about one plugin.
    #[must_use]
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Name { plugin }
            | Self::Missing { plugin, .. }
            | Self::Unreadable { plugin, .. }
            | Self::TooLarge { plugin, .. }
            | Self::NotComponent { plugin, .. }
            | Self::Malformed { plugin, .. }
            | Self::TooComplex { plugin, .. }
            | Self::ForbiddenImports { plugin, .. }
            | Self::Manifest { plugin, .. }
            | Self::NotGranted { plugin, .. }
            | Self::LimitNotGranted { plugin, .. }
            | Self::WrongWorld { plugin, .. }
            | Self::NoExport { plugin, .. }
            | Self::Compile { plugin, .. }
            | Self::CompileTimedOut { plugin, .. }
            | Self::CompileOutOfMemory { plugin, .. }
            | Self::CompileTooMuchCode { plugin, .. }
            | Self::CompilerDied { plugin, .. }
            | Self::CompilerUnavailable { plugin, .. }
            | Self::CompilerBusy { plugin, .. }
            | Self::Link { plugin, .. }
            | Self::Describe { plugin, .. }
            | Self::Description { plugin, .. }
            | Self::Refused { plugin, .. }
            | Self::Record { plugin, .. } => Some(plugin),
            Self::Engine { .. } | Self::CacheDirectory { .. } => None,
        }
    }

    /// The stable code of this kind of refusal, as in logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "plugin.bad_name",
            Self::Missing { .. } => "plugin.missing",
            Self::Unreadable { .. } => "plugin.unreadable",
            Self::TooLarge { .. } => "plugin.too_large",
            Self::NotComponent { .. } => "plugin.not_component",
            Self::Malformed { .. } => "plugin.malformed",
            Self::TooComplex { .. } => "plugin.too_complex",
            Self::ForbiddenImports { .. } => "plugin.forbidden_import",
            Self::Manifest { .. } => "plugin.bad_manifest",
            Self::NotGranted { .. } => "plugin.not_granted",
            Self::LimitNotGranted { .. } => "plugin.limit_not_granted",
            Self::WrongWorld { .. } => "plugin.wrong_world",
            Self::NoExport { .. } => "plugin.no_export",
            Self::Compile { .. } => "plugin.compile_refused",
            Self::CompileTimedOut { .. } => "plugin.compile_timed_out",
            Self::CompileOutOfMemory { .. } => "plugin.compile_out_of_memory",
            Self::CompileTooMuchCode { .. } => "plugin.compile_too_much_code",
            Self::CompilerDied { .. } => "plugin.compiler_died",
            Self::CompilerUnavailable { .. } => "plugin.compiler_unavailable",
            Self::CompilerBusy { .. } => "plugin.compiler_busy",
            Self::CacheDirectory { .. } => "plugin.cache_directory",
            Self::Link { .. } => "plugin.does_not_link",
            Self::Describe { .. } => "plugin.does_not_describe",
            Self::Description { .. } => "plugin.bad_description",
            Self::Refused { .. } => "plugin.refused",
            Self::Record { .. } => "plugin.no_record",
            Self::Engine { .. } => "plugin.no_engine",
        }
    }
}

/// Why a swap was not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The configuration names no such plugin.
    #[error("no plugin `{plugin}` is configured; name it under `[plugins]` or as `adapter` of a `[[node]]`")]
    Unknown {
        /// The name.
        plugin: String,
    },
    /// There is nothing to go back to.
    #[error("plugin `{plugin}` has no generation before this one to go back to; install one instead")]
    NoPrevious {
        /// The plugin.
        plugin: String,
    },
    /// So many swaps are waiting that this one was not accepted.
    #[error("{limit} swaps of plugins are waiting, which is all that are allowed")]
    QueueFull {
        /// Swaps that may wait.
        limit: usize,
    },
    /// The component cannot serve.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Several cannot.
    #[error("{} of the plugins cannot serve as configured: {}", .0.len(), listed(.0))]
    Several(Vec<LoadError>),
    /// The component or the record of it could not be written.
    #[error("plugin `{plugin}`: {reason}")]
    NotKept {
        /// The plugin.
        plugin: String,
        /// What could not be written, and where.
        reason: String,
    },
    /// The host is going down.
    #[error("the server is shutting down")]
    Stopped,
}

fn listed(errors: &[LoadError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

pub(super) fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}
