use super::error::CliError;
use crate::model::Secret;
use clap::Args;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

/// Bytes a password may have, here and at the server.
const BYTES_MAX: usize = 1024;
/// Characters a new password needs.
const NEW_CHARACTERS_MIN: usize = 12;

/// Where a password comes from: a terminal without echo unless one of these is given. Never an argument or a variable,
/// which other users of the machine could see.
#[derive(Debug, Clone, Default, Args)]
pub struct PasswordArgs {
    /// Read the password from the first line of standard input
    #[arg(long, conflicts_with = "password_file")]
    pub password_stdin: bool,
    /// Read the password from the first line of a file, `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// Reads a password that exists already.
    ///
    /// # Errors
    /// [`CliError::Usage`] without a terminal to ask on, [`CliError::Data`] when it is empty or too long,
    /// [`CliError::File`].
    pub fn read(&self) -> Result<Secret, CliError> {
        match self.given()? {
            Some(password) => Ok(password),
            None => checked(ask("Password: ")?),
        }
    }

    /// Reads a new password: long enough, and on a terminal typed twice.
    ///
    /// # Errors
    /// As [`PasswordArgs::read`], and [`CliError::Data`] when it is too short or typed differently.
    pub fn read_new(&self) -> Result<Secret, CliError> {
        let password = match self.given()? {
            Some(password) => password,
            None => {
                let password = long_enough(checked(ask("New password (at least 12 characters): ")?)?)?;
                if ask("Once more: ")? != password.reveal() {
                    return Err(CliError::Data { message: "the two passwords differ".to_owned() });
                }
                password
            }
        };
        long_enough(password)
    }

    /// Whether it is said where it comes from.
    pub(crate) const fn is_given(&self) -> bool {
        self.password_stdin || self.password_file.is_some()
    }

    fn given(&self) -> Result<Option<Secret>, CliError> {
        if let Some(path) = self.password_file.as_ref().filter(|path| path.as_os_str() != "-") {
            let failed = |source| CliError::File { action: "read", path: path.display().to_string(), source };
            let file = File::open(path).map_err(failed)?;
            return first_line(BufReader::new(file)).map_err(failed).and_then(checked).map(Some);
        }
        if self.is_given() {
            return first_line(io::stdin().lock()).map_err(CliError::Terminal).and_then(checked).map(Some);
        }
        Ok(None)
    }
}

/// Where one's own old and new password come from: a terminal without echo unless these are given.
#[derive(Debug, Clone, Default, Args)]
pub struct OwnPasswordArgs {
    /// Read both from standard input: the old one from the first line, the new one from the second
    #[arg(long, conflicts_with_all = ["old_password_file", "new_password_file"])]
    pub password_stdin: bool,
    /// Read the old password from the first line of a file
    #[arg(long, value_name = "FILE")]
    pub old_password_file: Option<PathBuf>,
    /// Read the new password from the first line of a file
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

impl OwnPasswordArgs {
    /// Reads the old password and the new one.
    ///
    /// # Errors
    /// As [`PasswordArgs::read`] and [`PasswordArgs::read_new`].
    pub fn read(&self) -> Result<(Secret, Secret), CliError> {
        if self.password_stdin {
            return two_lines(io::stdin().lock());
        }
        let from = |file: &Option<PathBuf>| PasswordArgs { password_stdin: false, password_file: file.clone() };
        let old = match &self.old_password_file {
            Some(_) => from(&self.old_password_file).read()?,
            None => checked(ask("Old password: ")?)?,
        };
        Ok((old, from(&self.new_password_file).read_new()?))
    }
}

fn two_lines(mut reader: impl BufRead) -> Result<(Secret, Secret), CliError> {
    let mut next = || first_line(&mut reader).map_err(CliError::Terminal).and_then(checked);
    let old = next()?;
    Ok((old, long_enough(next()?)?))
}

/// Asks for something secret on the terminal, without echo.
pub(crate) fn ask(prompt: &str) -> Result<String, CliError> {
    rpassword::prompt_password(prompt).map_err(|error| {
        if error.kind() == io::ErrorKind::Interrupted {
            return CliError::Interrupted;
        }
        CliError::usage("there is no terminal to ask for a password on", "use --password-stdin or --password-file FILE")
    })
}

fn first_line(reader: impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    // A byte more than allowed tells "too long" from "just fits"; two for the line's end.
    reader.take(BYTES_MAX as u64 + 3).read_line(&mut line)?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn checked(password: String) -> Result<Secret, CliError> {
    let wrong = |message: String| Err(CliError::Data { message });
    match password.len() {
        0 => wrong("the password is empty".to_owned()),
        length if length > BYTES_MAX => wrong(format!("the password is longer than {BYTES_MAX} bytes")),
        _ => Ok(Secret::new(password)),
    }
}

fn long_enough(password: Secret) -> Result<Secret, CliError> {
    if password.reveal().chars().count() < NEW_CHARACTERS_MIN {
        return Err(CliError::Data { message: format!("a password needs at least {NEW_CHARACTERS_MIN} characters") });
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(bytes: &[u8]) -> PasswordArgs {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.keep().join("password");
        std::fs::write(&path, bytes).expect("written");
        PasswordArgs { password_stdin: false, password_file: Some(path) }
    }

    #[test]
    fn only_the_line_break_is_taken_off() {
        let read = |bytes: &[u8]| from_file(bytes).read().expect("good").reveal().to_owned();
        assert_eq!(read(b" two words \r\nignored\n"), " two words ");
        assert_eq!(read(b"no line break"), "no line break");
        assert_eq!(read(&[b'x'; 1024]).len(), 1024);
    }

    #[test]
    fn the_old_one_and_the_new_one_are_two_lines() {
        let (old, new) = two_lines(&b"short \nlong enough for us\nignored"[..]).expect("good");
        assert_eq!((old.reveal(), new.reveal()), ("short ", "long enough for us"));
        for bad in [&b"old\n"[..], b"old\nshort\n", b"\nlong enough for us\n", &[b'x'; 3_000]] {
            assert!(two_lines(bad).is_err());
        }
    }

    #[test]
    fn empty_long_and_short_ones_are_refused() {
        let refused = |bytes: &[u8]| from_file(bytes).read_new().expect_err("refused").to_string();
        assert!(refused(b"\n").contains("empty"));
        assert!(refused(&[b'x'; 1025]).contains("1024"));
        assert!(refused(b"hunter2").contains("12") && !refused(b"hunter2").contains("hunter2"));
        assert!(from_file("äöüäöüäöüäöü".as_bytes()).read_new().is_ok(), "characters count, not bytes");
        let missing = PasswordArgs { password_stdin: false, password_file: Some("/nowhere/at/all".into()) };
        assert_eq!(missing.read().expect_err("refused").exit_code(), 66);
    }
}
