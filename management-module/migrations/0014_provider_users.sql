-- Users who sign in at a provider of OpenID Connect: which one, and who there. No password of theirs is kept here.
ALTER TABLE web_users ADD COLUMN provider_subject TEXT NOT NULL DEFAULT '';
