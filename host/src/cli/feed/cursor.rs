use super::frame::Frame;
use std::collections::HashMap;

/// Where a client is in the feed, and whether what arrives keeps the feed's promises. Pure.
///
/// The position moves only with what is complete: a snapshot counts when its last piece is there. A client that comes
/// back with [`Cursor::since`] therefore misses nothing.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    epoch: Option<String>,
    /// The one behind the resync that is under way.
    epoch_next: Option<String>,
    /// The last position that is complete.
    offset: Option<u64>,
    /// The snapshot that is under way, at its offset.
    snapshot: Option<Option<u64>>,
    /// The last count of each topic.
    counts: HashMap<String, u64>,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the feed began with something else than a welcome")]
    NoWelcome,
    #[error("the feed went from {last} to {got}")]
    Order { last: u64, got: u64 },
    #[error("the feed lost events of {topic}: after {last} came {got}")]
    Hole { topic: String, last: u64, got: u64 },
    #[error("the feed sent something else in the middle of a snapshot")]
    Mixed,
}

impl Cursor {
    /// The position to go on from, as the server reads it.
    pub(crate) fn since(&self) -> Option<String> {
        Some(format!("{}:{}", self.epoch.as_ref()?, self.offset?))
    }

    /// Forgets the position, so that the next connection begins with a snapshot.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Moves on by one frame.
    ///
    /// # Errors
    /// [`Broken`] says which promise the frame breaks. The connection is of no use then.
    pub(crate) fn advance(&mut self, frame: &Frame) -> Result<(), Broken> {
        match frame {
            Frame::Welcome { epoch, mode, .. } => {
                let is_replay = mode == "replay";
                if !is_replay {
                    self.counts.clear();
                }
                if mode == "snapshot" || self.epoch.as_ref() != Some(epoch) {
                    self.counts.clear();
                    self.offset = None;
                }
                self.epoch = Some(epoch.clone());
                self.epoch_next = None;
                self.snapshot = (!is_replay).then_some(None);
                Ok(())
            }
            Frame::Resync { epoch, .. } => {
                self.welcomed()?;
                self.epoch_next.clone_from(epoch);
                self.counts.clear();
                self.snapshot = Some(None);
                Ok(())
            }
            Frame::Snap { o, last, .. } => self.snap(*o, *last),
            Frame::Ev(event) => {
                self.settled()?;
                self.rise(event.o)?;
                let before = self.counts.insert(event.topic.clone(), event.s);
                match before {
                    Some(last) if last.checked_add(1) != Some(event.s) => {
                        Err(Broken::Hole { topic: event.topic.clone(), last, got: event.s })
                    }
                    Some(_) | None => Ok(()),
                }
            }
            Frame::Bm { o } => {
                self.settled()?;
                match self.offset {
                    Some(last) if *o < last => Err(Broken::Order { last, got: *o }),
                    Some(_) | None => {
                        self.offset = Some(*o);
                        Ok(())
                    }
                }
            }
            Frame::Revoked { epoch, .. } => {
                self.welcomed()?;
                self.epoch = Some(epoch.clone());
                Ok(())
            }
            // A lane of their own.
            Frame::Logs { .. } | Frame::Log(_) | Frame::Skip { .. } | Frame::Unknown => self.welcomed(),
        }
    }

    fn snap(&mut self, o: u64, is_last: bool) -> Result<(), Broken> {
        self.welcomed()?;
        match self.snapshot {
            None => return Err(Broken::Mixed),
            Some(Some(last)) if last != o => return Err(Broken::Order { last, got: o }),
            Some(Some(_) | None) => self.snapshot = Some(Some(o)),
        }
        if is_last {
            self.snapshot = None;
            self.offset = Some(o);
            if let Some(epoch) = self.epoch_next.take() {
                self.epoch = Some(epoch);
            }
        }
        Ok(())
    }

    fn rise(&mut self, o: u64) -> Result<(), Broken> {
        match self.offset {
            Some(last) if o <= last => Err(Broken::Order { last, got: o }),
            Some(_) | None => {
                self.offset = Some(o);
                Ok(())
            }
        }
    }

    fn welcomed(&self) -> Result<(), Broken> {
        if self.epoch.is_some() { Ok(()) } else { Err(Broken::NoWelcome) }
    }

    fn settled(&self) -> Result<(), Broken> {
        self.welcomed()?;
        if self.snapshot.is_some() { Err(Broken::Mixed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::feed::frame::Event;

    fn welcome(epoch: &str, o: u64, mode: &str) -> Frame {
        Frame::Welcome { epoch: epoch.into(), o, mode: mode.into() }
    }

    fn snap(o: u64, last: bool) -> Frame {
        Frame::Snap { o, last, items: vec![] }
    }

    fn event(o: u64, s: u64) -> Frame {
        Frame::Ev(Box::new(Event {
            o,
            s,
            topic: "proc/n/state".into(),
            at: String::new(),
            kind: "changed".into(),
            node: "n".into(),
            state: None,
            process: None,
            transition: None,
            id: None,
        }))
    }

    /// A cursor after some frames that keep the promises.
    fn after(frames: &[Frame]) -> Cursor {
        let mut cursor = Cursor::default();
        for frame in frames {
            cursor.advance(frame).expect("a good frame");
        }
        cursor
    }

    #[test]
    fn a_position_exists_once_the_snapshot_is_complete() {
        let mut cursor = after(&[welcome("e", 5, "snapshot"), snap(5, false)]);
        assert_eq!(cursor.since(), None);
        cursor.advance(&snap(5, true)).expect("good");
        assert_eq!(cursor.since().as_deref(), Some("e:5"));
        cursor.advance(&event(9, 1)).expect("good");
        cursor.advance(&Frame::Bm { o: 12 }).expect("good");
        assert_eq!(cursor.since().as_deref(), Some("e:12"));
    }

    #[test]
    fn a_link_lost_in_a_resync_goes_on_from_before_it() {
        let mut cursor = after(&[
            welcome("e", 5, "snapshot"),
            snap(5, true),
            event(6, 1),
            Frame::Resync { why: "lag".into(), mode: "snapshot".into(), epoch: Some("f".into()) },
            snap(90, false),
        ]);
        assert_eq!(cursor.since().as_deref(), Some("e:6"));
        cursor.advance(&snap(90, true)).expect("good");
        assert_eq!(
            cursor.since().as_deref(),
            Some("f:90"),
            "the epoch of what it sees now counts from its last piece on"
        );
        cursor.advance(&Frame::Revoked { topics: vec!["proc/".into()], epoch: "g".into() }).expect("good");
        assert_eq!(cursor.since().as_deref(), Some("g:90"));
    }

    #[test]
    fn who_is_given_what_changed_goes_on_from_before_it_until_it_is_whole() {
        let begun = [welcome("e", 5, "snapshot"), snap(5, true), event(6, 1), welcome("e", 90, "changes")];
        let mut cursor = after(&begun);
        assert_eq!(cursor.since().as_deref(), Some("e:6"));
        cursor.advance(&snap(90, true)).expect("good");
        assert_eq!(cursor.since().as_deref(), Some("e:90"));
        cursor.advance(&event(91, 7)).expect("its counts began anew");
    }

    #[test]
    fn a_replay_keeps_counting_and_another_epoch_begins_anew() {
        let mut cursor = after(&[welcome("e", 5, "snapshot"), snap(5, true), event(6, 3), welcome("e", 8, "replay")]);
        assert_eq!(cursor.advance(&event(8, 5)), Err(Broken::Hole { topic: "proc/n/state".into(), last: 3, got: 5 }));
        cursor.advance(&welcome("f", 2, "snapshot")).expect("good");
        assert_eq!(cursor.since(), None);
        cursor.advance(&snap(2, true)).expect("good");
        cursor.advance(&event(3, 1)).expect("its counts began anew too");
    }

    #[test]
    fn what_comes_twice_or_too_early_is_noticed() {
        let good = || after(&[welcome("e", 5, "snapshot"), snap(5, true), event(7, 1)]);
        assert_eq!(good().advance(&event(7, 2)), Err(Broken::Order { last: 7, got: 7 }));
        assert_eq!(good().advance(&Frame::Bm { o: 6 }), Err(Broken::Order { last: 7, got: 6 }));
        assert_eq!(good().advance(&snap(9, true)), Err(Broken::Mixed), "a snapshot nobody spoke of");
        assert_eq!(Cursor::default().advance(&event(1, 1)), Err(Broken::NoWelcome));
        let mut cursor = after(&[welcome("e", 5, "snapshot"), snap(5, false)]);
        assert_eq!(cursor.advance(&event(6, 1)), Err(Broken::Mixed));
        assert_eq!(cursor.advance(&snap(6, true)), Err(Broken::Order { last: 5, got: 6 }));
    }
}
