package deputy

import (
	"encoding/json"
	"time"
)

// MailPurpose says what a mail is for; recipients' programs read it in the
// header X-Deputy-Purpose.
type MailPurpose string

// The purposes.
const (
	MailVerifyEmail   MailPurpose = "verify-email"
	MailResetPassword MailPurpose = "reset-password"
	MailInvitation    MailPurpose = "invitation"
)

// Mail is a message to a person on its way out. It is inserted by the change
// that has something to say, so that it leaves if and only if that happened,
// and deleted once it was handed over. Package mail seals it and sends it.
type Mail struct {
	ID             ID
	OrganizationID OrganizationID
	ZoneID         ZoneID // empty: not about a zone
	Purpose        MailPurpose
	Sealed         []byte // address, subject and text
	CreatedAt      time.Time
}

// TaskSendMail hands a mail over. Its Data is a MailTask. Inserting a mail
// enqueues it.
const TaskSendMail = "mails:send"

// MailTask names a mail.
type MailTask struct {
	OrganizationID OrganizationID `json:"organization_id"`
	ID             ID             `json:"id"`
}

// Task returns the task that sends the mail.
func (m *Mail) Task(now time.Time) Task {
	data, err := json.Marshal(MailTask{m.OrganizationID, m.ID})
	if err != nil {
		panic(err) // two texts
	}
	return Task{ID: m.ID, Kind: TaskSendMail, ZoneID: m.ZoneID, Data: data, RunAt: now}
}
