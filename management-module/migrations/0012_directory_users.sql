-- Users whose password is that of the LDAP directory: none is kept here.
ALTER TABLE web_users ADD COLUMN from_directory BOOLEAN NOT NULL DEFAULT FALSE;
