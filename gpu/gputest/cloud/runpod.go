package cloud

// runpod is the API of Runpod.
type runpod struct{ *Account }

func newRunpod(a *Account) api { return &runpod{a} }

func (p *runpod) offers() []Offer { return nil }

func (p *runpod) routes() []route { return nil }

func (p *runpod) refuse(op string, status int) reply { return reply{status: status} }
