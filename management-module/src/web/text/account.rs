//! Signing in, one's own account, users.

crate::language::texts! { pub(in crate::web),
    SIGN_IN = "Sign in" | "Anmelden" | "Se connecter" | "Accedi";
    USER_NAME = "User name" | "Benutzername" | "Nom d'utilisateur" | "Nome utente";
    PASSWORD = "Password" | "Passwort" | "Mot de passe" | "Password segreta";
    WRONG = "Name, password or code are wrong." | "Name, Passwort oder Code ist falsch." | "Le nom, le mot de passe ou le code est faux." | "Nome, password o codice errati.";
    WAIT = "Too many wrong tries from here. Wait {} seconds." | "Zu viele falsche Versuche von hier. Warten Sie {} Sekunden." | "Trop d'essais erronés depuis ici. Attendez {} secondes." | "Troppi tentativi errati da qui. Attenda {} secondi.";
    SECOND_FACTOR = "Second factor" | "Zweiter Faktor" | "Second facteur" | "Secondo fattore";
    CODE = "Code" | "Code aus der App" | "Code de l'application" | "Codice dell'app";
    CODE_HINT = "The six digits that your authenticator app shows now." | "Die sechs Ziffern, die Ihre Authenticator-App jetzt zeigt." | "Les six chiffres que votre application affiche maintenant." | "Le sei cifre che l'app mostra adesso.";
    WRONG_CODE = "The code is wrong. Is the clock of the device right?" | "Der Code ist falsch. Stimmt die Uhr des Geräts?" | "Le code est faux. L'horloge de l'appareil est-elle juste ?" | "Il codice è errato. L'orologio del dispositivo è giusto?";
    CHANGE_PASSWORD = "Change password" | "Passwort ändern" | "Changer le mot de passe" | "Cambia password";
    PRESENT_PASSWORD = "Present password" | "Jetziges Passwort" | "Mot de passe actuel" | "Password attuale";
    WRONG_PRESENT = "The present password is wrong." | "Das jetzige Passwort ist falsch." | "Le mot de passe actuel est faux." | "La password attuale è errata.";
    NEW_PASSWORD = "New password" | "Neues Passwort" | "Nouveau mot de passe" | "Nuova password";
    AGAIN = "The same again" | "Noch einmal dasselbe" | "Encore une fois" | "Ancora una volta";
    DIFFER = "The two new passwords differ." | "Die beiden neuen Passwörter sind verschieden." | "Les deux nouveaux mots de passe diffèrent." | "Le due nuove password sono diverse.";
    PASSWORD_HINT = "At least 12 characters; a sentence is good." | "Mindestens 12 Zeichen; ein Satz ist gut." | "Au moins 12 caractères ; une phrase convient bien." | "Almeno 12 caratteri; va bene una frase.";
    FACTOR_WHY = "With a second factor, nobody signs in with a stolen password alone." | "Mit einem zweiten Faktor reicht ein gestohlenes Passwort nicht." | "Avec un second facteur, un mot de passe volé ne suffit pas." | "Con un secondo fattore una password rubata non basta.";
    FACTOR_ON = "Switch on the second factor" | "Zweiten Faktor einschalten" | "Activer le second facteur" | "Attiva il secondo fattore";
    FACTOR_OFF = "Switch off the second factor" | "Zweiten Faktor ausschalten" | "Désactiver le second facteur" | "Disattiva il secondo fattore";
    FACTOR_RESET = "Take the second factor away (the device was lost)" | "Zweiten Faktor wegnehmen (das Gerät ging verloren)" | "Retirer le second facteur (appareil perdu)" | "Togli il secondo fattore (dispositivo perso)";
    FACTOR_HOW = "Read the picture with an authenticator app, then type the code that it shows." | "Lesen Sie das Bild mit einer Authenticator-App und tippen Sie dann den Code, den sie zeigt." | "Lisez l'image avec une application d'authentification, puis tapez le code affiché." | "Inquadri l'immagine con un'app di autenticazione, poi digiti il codice mostrato.";
    FACTOR_QR = "QR code with the secret for the app" | "QR-Code mit dem Geheimnis für die App" | "Code QR avec le secret pour l'application" | "Codice QR con il segreto per l'app";
    FACTOR_TEXT = "Or type this into the app:" | "Oder tippen Sie das in die App:" | "Ou tapez ceci dans l'application :" | "Oppure digiti questo nell'app:";
    ROLE = "Role" | "Rolle" | "Rôle" | "Ruolo";
    ADMINISTRATOR = "Administrator" | "Administrator" | "Administrateur" | "Amministratore";
    OPERATOR = "Operator" | "Bediener" | "Opérateur" | "Operatore";
    VIEWER = "Viewer" | "Betrachter" | "Observateur" | "Osservatore";
    CUSTOMER = "Customer" | "Kunde" | "Client" | "Cliente";
    TENANTS = "Tenants" | "Mandanten" | "Locataires" | "Tenant assegnati";
    TENANTS_HINT = "For customers only, with commas between them." | "Nur für Kunden, mit Kommas dazwischen." | "Pour les clients seulement, séparés par des virgules." | "Solo per i clienti, separati da virgole.";
    LAST_SIGN_IN = "Last sign-in" | "Letzte Anmeldung" | "Dernière connexion" | "Ultimo accesso";
    DISABLED = "blocked" | "gesperrt" | "bloqué" | "bloccato";
    MAY_NOT_SIGN_IN = "May not sign in" | "Darf sich nicht anmelden" | "Ne peut pas se connecter" | "Non può accedere";
    ADD_USER = "Add a user" | "Benutzer hinzufügen" | "Ajouter un utilisateur" | "Aggiungi un utente";
    CHANGE_USER = "Change the user" | "Benutzer ändern" | "Modifier l'utilisateur" | "Modifica l'utente";
    REMOVE_USER = "Remove the user" | "Benutzer entfernen" | "Supprimer l'utilisateur" | "Rimuovi l'utente";
    NAME_HINT = "a-z, 0-9, dot, hyphen and underscore" | "a-z, 0-9, Punkt, Bindestrich und Unterstrich" | "a-z, 0-9, point, tiret et tiret bas" | "a-z, 0-9, punto, trattino e trattino basso";
    EMPTY_STAYS = "Empty: it stays as it is." | "Leer: es bleibt, wie es ist." | "Vide : il reste inchangé." | "Vuoto: resta com'è.";
    ENDS_SESSIONS = "Saving ends the user's sessions." | "Speichern beendet die Sitzungen des Benutzers." | "L'enregistrement met fin aux sessions de l'utilisateur." | "Il salvataggio termina le sessioni dell'utente.";
}
