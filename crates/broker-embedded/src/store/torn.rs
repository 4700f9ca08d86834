//! A batch that a power cut tore.
//!
//! Of a batch that was being written, any of its pages may have reached the disk. The engine discards a last batch that
//! has no end, but refuses the whole store when the end is there and something before it is not. No publisher was
//! promised such a batch, because it was not synced. So its end is taken away, and the engine discards it.

use std::path::Path;

use tracing::warn;

use super::{
    engine::Engine,
    fjall_internals::{LastEnd, is_in_journal},
};

/// Opens the engine; if its newest journal is damaged, once more without the end of the last batch in it.
pub(super) fn open(folder: &Path) -> Result<Engine, fjall::Error> {
    let refused = match Engine::open(folder) {
        Err(error) if is_in_journal(&error) => error,
        opened => return opened,
    };
    let Some(end) = LastEnd::take_away(folder)? else { return Err(refused) };
    let Ok(engine) = Engine::open(folder) else {
        // The damage is elsewhere.
        end.put_back()?;
        return Err(refused);
    };
    warn!("a batch that was being written when the power went is incomplete and was dropped; it was not confirmed");
    Ok(engine)
}
