package cloud

// vast is the API of Vast.
type vast struct{ *Account }

func newVast(a *Account) api { return &vast{a} }

func (p *vast) offers() []Offer { return nil }

func (p *vast) routes() []route { return nil }

func (p *vast) refuse(op string, status int) reply { return reply{status: status} }
