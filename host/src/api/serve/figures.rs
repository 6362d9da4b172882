//! What the edge counts of connections and certificates, and how its certificates do.

use crate::api::serve::certificates::{CertificateState, Certificates};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a connection was closed before anything was asked on it, or was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Turned {
    /// Its address has as many as it may have.
    AddressFull,
    /// It had asked for nothing, and another one needed the place.
    MadeRoom,
    /// Too many handshakes were under way.
    HandshakesFull,
    /// TLS was not agreed on.
    HandshakeFailed,
    /// The same, in time.
    HandshakeTimedOut,
    /// The system gave none, most likely for want of descriptors. One try each 100 ms.
    NotAccepted,
}

impl Turned {
    pub(in crate::api) const ALL: [Self; 6] = [
        Self::AddressFull,
        Self::MadeRoom,
        Self::HandshakesFull,
        Self::HandshakeFailed,
        Self::HandshakeTimedOut,
        Self::NotAccepted,
    ];

    pub(in crate::api) const fn as_str(self) -> &'static str {
        match self {
            Self::AddressFull => "address-full",
            Self::MadeRoom => "made-room",
            Self::HandshakesFull => "handshakes-full",
            Self::HandshakeFailed => "handshake-failed",
            Self::HandshakeTimedOut => "handshake-timed-out",
            Self::NotAccepted => "not-accepted",
        }
    }
}

/// The figures of all listeners of a host.
#[derive(Debug, Default)]
pub struct ServeFigures {
    turned: [AtomicU64; Turned::ALL.len()],
    /// Of each listener with TLS.
    certificates: Mutex<Vec<Arc<Certificates>>>,
}

impl ServeFigures {
    pub(super) fn turn(&self, why: Turned) {
        if let Some(count) = self.turned.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn add(&self, certificates: Arc<Certificates>) {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).push(certificates);
    }

    /// How many connections were turned away, by why.
    pub(in crate::api) fn turned(&self) -> impl Iterator<Item = (Turned, u64)> {
        Turned::ALL.into_iter().zip(&self.turned).map(|(why, count)| (why, count.load(Relaxed)))
    }

    /// How each certificate does.
    pub(in crate::api) fn certificates(&self) -> Vec<CertificateState> {
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        certificates.iter().map(|certificates| certificates.state()).collect()
    }
}
