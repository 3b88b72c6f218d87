//! A body that grows without being copied at each doubling: what is over a limit was never held twice.

use bytes::Bytes;

/// Bytes of one block.
const BLOCK: usize = 1 << 20;

/// A body as far as it came.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// All but the last are full, however small the pieces that came.
    blocks: Vec<Vec<u8>>,
    len: usize,
}

impl Gathered {
    /// How many bytes came.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds what came.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) {
        self.len += chunk.len();
        while !chunk.is_empty() {
            let room = match self.blocks.last() {
                Some(last) if last.len() < BLOCK => BLOCK - last.len(),
                last => {
                    // A small body takes what it needs; a large one comes to whole blocks at once.
                    let first = last.is_none();
                    self.blocks.push(if first { Vec::new() } else { Vec::with_capacity(BLOCK) });
                    BLOCK
                }
            };
            let (now, rest) = chunk.split_at(room.min(chunk.len()));
            if let Some(last) = self.blocks.last_mut() {
                if last.capacity() - last.len() < now.len() {
                    let wanted = (2 * last.capacity()).max(last.len() + now.len()).min(BLOCK);
                    last.reserve_exact(wanted - last.len());
                }
                last.extend_from_slice(now);
            }
            chunk = rest;
        }
    }

    /// The body in one piece.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if self.blocks.len() <= 1 {
            return self.blocks.pop().unwrap_or_default().into_boxed_slice().into();
        }
        let mut out = Vec::with_capacity(self.len);
        // Each block is gone once it was taken over.
        self.blocks.into_iter().for_each(|block| out.extend_from_slice(&block));
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_pieces_is_one_body() {
        for pieces in [&[0][..], &[5, 0, 7], &[BLOCK], &[BLOCK - 1, 2, BLOCK], &[3 * BLOCK + 9, 1]]
        {
            let total: usize = pieces.iter().sum();
            let whole: Vec<u8> = (0..total).map(|i| (i % 251) as u8).collect();
            let (mut gathered, mut rest) = (Gathered::default(), whole.as_slice());
            for length in pieces {
                let (piece, later) = rest.split_at(*length);
                gathered.push(piece);
                rest = later;
            }
            assert_eq!(gathered.len(), total);
            assert_eq!(gathered.into_bytes(), whole, "{pieces:?}");
        }
    }

    #[test]
    fn small_pieces_fill_blocks() {
        let mut gathered = Gathered::default();
        (0..2 * BLOCK / 1000).for_each(|_| gathered.push(&[7; 1000]));
        assert_eq!(gathered.blocks.len(), 2);
        assert!(gathered.blocks.iter().all(|b| b.capacity() <= BLOCK));
    }
}
