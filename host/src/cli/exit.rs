//! Exit codes, after `sysexits.h`. They are part of the command line's contract: scripts branch on them.

/// All went well.
pub const OK: u8 = 0;
/// The command ran, and at least one of its targets failed; or the user said no.
pub const FAILED: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 64;
/// The input was refused as wrong.
pub const DATA: u8 = 65;
/// The named thing does not exist: a selector without a match, a missing file.
pub const NO_INPUT: u8 = 66;
/// The server cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// A fault of the program or the server.
pub const SOFTWARE: u8 = 70;
/// A part of the server broke, which ended it.
pub const BROKEN: u8 = 71;
/// A file cannot be created.
pub const CANNOT_CREATE: u8 = 73;
/// Reading or writing failed.
pub const IO: u8 = 74;
/// It may work later: busy, timed out, shutting down.
pub const TEMPORARY: u8 = 75;
/// The other side does not speak our protocol.
pub const PROTOCOL: u8 = 76;
/// Not logged in, or not allowed.
pub const NO_PERMISSION: u8 = 77;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;
/// Ended by Ctrl-C before the work was done.
pub const INTERRUPTED: u8 = 130;

/// The table shown below `omnivisor help`.
pub const TABLE: &str = "\
Exit codes (sysexits.h):
  0    all went well
  1    at least one target failed, or the question was answered with no
  64   usage: the command line makes no sense
  65   data: the input was refused as wrong
  66   no input: a selector matches nothing, a file does not exist
  69   unavailable: the server cannot be reached
  70   software: a fault of the server or of this program
  71   a part of the server broke, which ended it: a bug
  73   a file cannot be created
  74   reading or writing failed
  75   temporary: busy, timed out or shutting down; try again
  76   protocol: whatever answers there is not an Omnivisor server
  77   no permission: not logged in, or not allowed
  78   the configuration is wrong
  130  ended by Ctrl-C";
