-- When an account of the directory is warned, as people set it here: it counts instead of what the directory says. JSON.
ALTER TABLE accounts ADD COLUMN limits TEXT;

-- How a message goes out: as a mail, or to the webhook.
ALTER TABLE mails ADD COLUMN channel TEXT NOT NULL DEFAULT 'mail';

-- The newest run of each configuration is asked for by every page.
CREATE INDEX runs_by_configuration ON runs (configuration, id);
