//! Merkle tree, tiles, checkpoints, signed notes and receipts. Plans an append, verifies proofs. Sans-I/O.
