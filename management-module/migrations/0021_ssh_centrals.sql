-- Centrals that a satellite reaches over SSH: where and how, and the same with its secrets, sealed. Not set: the server's own machine.
ALTER TABLE centrals ADD COLUMN ssh BLOB;
ALTER TABLE centrals ADD COLUMN ssh_sealed BLOB;
