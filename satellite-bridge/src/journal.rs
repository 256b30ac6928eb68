//! Write-ahead records on disk.
