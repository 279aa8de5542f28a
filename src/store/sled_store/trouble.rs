//! What can go wrong below the port, and which of the port's errors it is.

use std::any::Any;
use std::io;
use std::path::Path;

use crate::ports::StoreError;
use crate::wire::stored::{FORMAT, StoredError};

/// An error within the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("in use")]
    InUse,
    #[error("{0}")]
    Sled(#[from] sled::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Damaged(String),
    #[error("format version {found}")]
    Newer { found: u32 },
    /// sled panics where it meets what it did not expect.
    #[error("sled panicked: {0}")]
    Panicked(String),
}

impl From<StoredError> for Trouble {
    fn from(error: StoredError) -> Self {
        match error {
            StoredError::Newer { found } => Self::Newer {
                found: u32::from(found),
            },
            StoredError::Checksum | StoredError::Malformed(_) => Self::Damaged(error.to_string()),
        }
    }
}

impl Trouble {
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Self::Panicked(text.to_owned())
    }

    /// As the port has it.
    pub fn into_store_error(self, path: &Path) -> StoreError {
        let path = path.display().to_string();
        if self.is_no_space() {
            return StoreError::NoSpace {
                path,
                detail: self.to_string(),
            };
        }
        match self {
            Self::InUse => StoreError::InUse { path },
            Self::Newer { found } => StoreError::Newer {
                path,
                found,
                known: u32::from(FORMAT),
            },
            other => StoreError::Broken {
                path,
                detail: other.to_string(),
            },
        }
    }

    fn is_no_space(&self) -> bool {
        match self {
            Self::Io(error) | Self::Sled(sled::Error::Io(error)) => {
                is_full(error.kind()) || says_full(&error.to_string())
            }
            Self::Panicked(text) => says_full(text),
            _ => false,
        }
    }

    /// sled's own lock is held: its threads outlive a dropped database by a moment.
    pub fn is_sled_lock(&self) -> bool {
        matches!(self, Self::Sled(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock"))
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// sled hands errors on as text.
fn says_full(text: &str) -> bool {
    [
        "StorageFull",
        "No space left",
        "QuotaExceeded",
        "quota exceeded",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOSPC: i32 = 28;

    #[test]
    fn a_full_disk_is_recognised_however_it_is_said() {
        let full = || io::Error::from_raw_os_error(ENOSPC);
        let path = Path::new("p");
        for trouble in [
            Trouble::Io(full()),
            Trouble::Sled(sled::Error::Io(full())),
            Trouble::Sled(sled::Error::Io(full()).clone()),
            Trouble::Panicked(format!("called unwrap on Err: {:?}", full())),
            Trouble::Panicked(full().to_string()),
        ] {
            let text = format!("{trouble:?}");
            assert!(
                matches!(trouble.into_store_error(path), StoreError::NoSpace { .. }),
                "{text}"
            );
        }
        let other = Trouble::Io(io::Error::from_raw_os_error(5));
        assert!(matches!(
            other.into_store_error(path),
            StoreError::Broken { .. }
        ));
    }
}
