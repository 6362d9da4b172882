use super::{InstallArgs, tell};
use crate::cli::api::Api;
use crate::cli::console::Console;
use crate::cli::error::CliError;
use std::io::{self, Read as _};
use std::path::Path;

/// A longer file is no plugin that any server takes.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(crate) async fn run(api: &Api, console: &mut Console, args: &InstallArgs) -> Result<(), CliError> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.file)?,
    };
    let component = read(&args.file)
        .map_err(|error| CliError::Data { message: format!("{} cannot be read: {error}", args.file.display()) })?;
    tell(console, &api.install_plugin(&name, component).await?)
}

fn name_of(file: &Path) -> Result<String, CliError> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).ok_or_else(|| CliError::usage("the file's name is no plugin's name", "use --name NAME"))
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
