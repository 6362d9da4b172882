use crate::api::serve::certificates::{CertificateError, Certificates};
use crate::api::serve::outside::Peer;
use crate::config::{ListenConfig, ListenPlace};
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Why requests cannot come in somewhere.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The place is taken, not ours, or there is no room.
    #[error("cannot listen on {place}; name another place in the configuration")]
    Bind {
        /// The place, as an address or as `unix:PATH`.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody serves there.
    #[error("another server listens on unix:{}; end it, or name another `path`", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there, which is not ours to remove.
    #[error("`{}` is there and is no socket; remove it, or name another `path`", path.display())]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// TLS cannot be spoken there.
    #[error("cannot speak TLS on {place}")]
    Certificates {
        /// The place.
        place: String,
        /// Why.
        #[source]
        source: Box<CertificateError>,
    },
}

/// A place where requests come in. Dropping it closes it, and takes a unix socket's file away.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    pub(super) certificates: Option<Arc<Certificates>>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection that has just come.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpListener> for Listener {
    /// Plain HTTP on a port that is open already.
    fn from(listener: TcpListener) -> Self {
        Self { socket: Socket::Tcp(listener), certificates: None }
    }
}

impl Listener {
    /// Opens a place. A unix socket that a dead server left behind is replaced.
    ///
    /// # Errors
    /// [`ListenError`]; nothing is left open.
    pub async fn open(config: &ListenConfig) -> Result<Self, ListenError> {
        let place = config.place.to_string();
        let certificates =
            match &config.tls {
                None => None,
                Some(files) => {
                    let loaded = Certificates::load(files.clone()).await;
                    Some(Arc::new(loaded.map_err(|source| ListenError::Certificates {
                        place: place.clone(),
                        source: Box::new(source),
                    })?))
                }
            };
        let bind = |source| ListenError::Bind { place: place.clone(), source };
        let socket = match &config.place {
            ListenPlace::Tcp(address) => Socket::Tcp(TcpListener::bind(address).await.map_err(bind)?),
            ListenPlace::Unix { path, mode } => {
                let (listener, file) = open_unix(path, *mode).await?;
                Socket::Unix(listener, file)
            }
        };
        Ok(Self { socket, certificates })
    }

    /// How a client on this machine names the place: `http://IP:PORT`, `https://IP:PORT` or `unix:PATH`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        match &self.socket {
            Socket::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "URL".to_owned(), |address| format!("{scheme}://{address}"))
            }
            Socket::Unix(_, file) => format!("unix:{}", file.path.display()),
        }
    }

    /// The address of a port; none of a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// True when whoever is on the way to it can read and change what is said.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        self.certificates.is_none() && self.address().is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }

    /// The next connection, with what is known of its other end.
    ///
    /// # Cancel safety
    /// No connection is lost.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        let is_tls = self.certificates.is_some();
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                let peer = Peer { address: address.ip().to_canonical(), is_unix: false, is_tls };
                Ok((Accepted::Tcp(stream), peer))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                // Who may open the socket is on this machine.
                let peer = Peer { address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_unix: true, is_tls };
                Ok((Accepted::Unix(stream), peer))
            }
        }
    }
}

/// The file of a unix socket, which is taken away with it if it is still this one.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.inode.is_some()
            && self.inode == identity(&self.path)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "the socket's file stays");
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The socket is made under another name and moved into its place once it has its mode: nobody comes in before, and what a
/// dead server left is replaced in the same step.
async fn open_unix(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), ListenError> {
    let bind = |source| ListenError::Bind { place: format!("unix:{}", path.display()), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(bind(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => return Err(ListenError::Taken { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::info!(path = %path.display(), "a dead server's socket is replaced");
            }
            Err(error) => return Err(bind(error)),
        },
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let listener = UnixListener::bind(&fresh).map_err(bind)?;
    let in_place = std::fs::set_permissions(&fresh, Permissions::from_mode(mode))
        .map(|()| identity(&fresh))
        .and_then(|inode| std::fs::rename(&fresh, path).map(|()| inode));
    match in_place {
        Ok(inode) => Ok((listener, SocketFile { path: path.to_owned(), inode })),
        Err(error) => {
            // Whether or not it is there, it is of no use to anyone.
            let _ = std::fs::remove_file(&fresh);
            Err(bind(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path, mode: u32) -> ListenConfig {
        ListenConfig { place: ListenPlace::Unix { path: path.to_owned(), mode }, tls: None }
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_goes_with_its_listener_and_replaces_a_dead_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.sock");
        let first = Listener::open(&at(&path, 0o660)).await.unwrap();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert_eq!(first.url(), format!("unix:{}", path.display()));
        let taken = Listener::open(&at(&path, 0o600)).await.unwrap_err();
        assert!(matches!(&taken, ListenError::Taken { .. }), "{taken}");
        drop(first);
        assert!(!path.exists(), "it goes in order");
        // One that was not taken away, as after a kill.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = Listener::open(&at(&path, 0o600)).await.unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        // Somebody put another one in its place: that one is not ours to remove.
        std::fs::remove_file(&path).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(second);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        std::fs::write(&path, "mine").unwrap();
        let refused = Listener::open(&at(&path, 0o600)).await.unwrap_err();
        assert!(matches!(&refused, ListenError::NotASocket { .. }), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let nowhere = folder.path().join("none").join("o.sock");
        assert!(matches!(Listener::open(&at(&nowhere, 0o600)).await, Err(ListenError::Bind { .. })));
    }
}
